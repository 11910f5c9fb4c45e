//! Logging in: `POST /v1/auth`.
//!
//! Not here: checking the password (`side`). Invariants: a password is never told, kept or shown;
//! a wrong user and a wrong password get the same answer.

use super::fields::{given, read, wrong};
use crate::auth::{LoginOutcome, Secret};
use crate::http::Response;
use serde::{Deserialize, Serialize};

/// A name and a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Who it is said to be.
    pub user: Box<str>,
    /// By what that is to be known.
    pub password: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, deserialize_with = "given")]
    user: Option<String>,
    #[serde(default, deserialize_with = "given")]
    password: Option<String>,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    token: &'a str,
    expires: u64,
    user: LoggedInUser<'a>,
}

#[derive(Serialize)]
struct LoggedInUser<'a> {
    id: &'a str,
    username: &'a str,
    roles: &'a [Box<str>],
}

impl Credentials {
    /// Reads a whole body; what is missing is named.
    pub fn read(body: &[u8]) -> Result<Self, Response> {
        let Fields { user, password } = read(body, "the strings user and password")?;
        let missing = |field: &str| wrong(&format!("{field} is missing: a string, not empty"));
        let filled = |text: &String| !text.is_empty();
        let user = user.filter(filled).ok_or_else(|| missing("user"))?;
        let password = password.filter(filled).ok_or_else(|| missing("password"))?;
        Ok(Self { user: user.into(), password: Secret::new(password.into_bytes()) })
    }
}

/// What someone is told who tried to log in.
pub fn logged_in(outcome: &LoginOutcome) -> Response {
    let response = match outcome {
        LoginOutcome::Granted(login) => {
            let user = LoggedInUser { id: &login.user, username: &login.user, roles: &login.roles };
            // It was text when it was made.
            let token = str::from_utf8(login.token.expose()).unwrap_or_default();
            let told = LoggedIn { token, expires: login.expires_s, user };
            let body = serde_json::to_vec(&told).expect("strings and a number always serialise");
            Response::json(200, body)
        }
        LoginOutcome::Wrong => Response::problem(401, "the user or the password is wrong")
            .with_field("WWW-Authenticate", "Bearer"),
        LoginOutcome::TooMany { retry_after_s } => {
            Response::problem(429, "too many logins; try again later")
                .with_field("Retry-After", retry_after_s.to_string())
        }
        LoginOutcome::Failed => Response::problem(500, "no token could be issued; see the log"),
    };
    response.with_field("Cache-Control", "no-store")
}

/// Nobody can log in here.
pub fn login_off() -> Response {
    Response::problem(404, "logins are off; see auth.login")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::replay::{status, text};
    use crate::auth::Login;
    use serde_json::json;

    fn refused(body: &str) -> String {
        let response = Credentials::read(body.as_bytes()).expect_err(body);
        assert_eq!(status(&response), 400, "{body}");
        let problem: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
        problem["detail"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn a_name_and_a_password_are_read_and_the_password_is_not_shown() {
        let body = br#" {"password":"p\u00e4ss", "user":"ada"} "#;
        let read = Credentials::read(body).expect("both are there");
        assert_eq!((&*read.user, read.password.expose()), ("ada", "päss".as_bytes()));
        assert!(!format!("{read:?}").contains("ss\""), "{read:?}");
    }

    #[test]
    fn what_is_missing_is_named_and_no_value_is_told_again() {
        for (body, told) in [
            (r#"{"password":"hush"}"#, "user is missing"),
            (r#"{"user":"ada"}"#, "password is missing"),
            (r#"{"user":"","password":"hush"}"#, "user is missing"),
            (r#"{"user":"ada","password":""}"#, "password is missing"),
            (r#"{"user":"ada","password":7}"#, "user and password, each at most once"),
            (r#"{"user":null,"password":"hush"}"#, "user and password, each"),
            (r#"{"user":"a","user":"b","password":"hush"}"#, "each at most once"),
            (r#"{"user":"a","password":"hush","hush":1}"#, "and nothing else: see line 1"),
            (r#"["hush","hush"]"#, "a JSON object of the strings user and password"),
            (r#""hush""#, "a JSON object of"),
            ("", "a JSON object of"),
            (r#"{"user":"ada","password":"hush""#, "not one JSON value: see line 1 column 31"),
            (r#"{"user":"ada","password":"hush"} hush"#, "not one JSON value"),
            ("{\"user\":\"ada\",\"password\":\"hush\u{1}\"}", "not one JSON value"),
        ] {
            let detail = refused(body);
            assert!(detail.contains(told) && !detail.contains("hush"), "{body}: {detail}");
        }
        assert!(Credentials::read(b"{\"user\":\"\xff\",\"password\":\"p\"}").is_err());
        assert!(Credentials::read(&b"{\"user\":".repeat(500)).is_err(), "nested");
    }

    #[test]
    fn every_outcome_has_its_answer_and_none_is_cached() {
        let login = Login {
            token: Secret::new(*b"a.b.c"),
            expires_s: 1_700_000_000,
            user: "a\"da".into(),
            roles: vec!["member".into()],
        };
        let granted = logged_in(&LoginOutcome::Granted(login.into()));
        let body: serde_json::Value = serde_json::from_slice(granted.body()).expect("JSON");
        let user = json!({ "id": "a\"da", "username": "a\"da", "roles": ["member"] });
        assert_eq!(body, json!({ "token": "a.b.c", "expires": 1_700_000_000, "user": user }));
        let too_many = logged_in(&LoginOutcome::TooMany { retry_after_s: 7 });
        assert!(text(&too_many).contains("\r\nRetry-After: 7\r\n"));
        let wrong = logged_in(&LoginOutcome::Wrong);
        assert!(text(&wrong).contains("\r\nWWW-Authenticate: Bearer\r\n"));
        let failed = logged_in(&LoginOutcome::Failed);
        for (response, wanted) in [(granted, 200), (wrong, 401), (too_many, 429), (failed, 500)] {
            assert_eq!(status(&response), wanted);
            assert!(text(&response).contains("\r\nCache-Control: no-store\r\n"));
        }
    }
}
