//! Settings of whose pages may connect.
//!
//! Not here: how an origin is read and compared (`auth`). Invariant: no item is there twice.

use super::value::{self, Value, Wanted};
use crate::auth::OriginPolicy;
use crate::limits::ORIGINS_MAX;

/// The list of origins, in place of the one before it.
pub(super) fn allowed(value: &Value<'_>, origins: &mut OriginPolicy) -> Result<(), Wanted> {
    let raws = value::texts_or_none(value, "an origin, or a list of them")?;
    if raws.len() > ORIGINS_MAX {
        return Err(format!("at most {ORIGINS_MAX} origins"));
    }
    for (nth, raw) in raws.iter().enumerate() {
        if raws.iter().take(nth).any(|known| known == raw) {
            return Err(format!("each origin once, and {raw:?} is there twice"));
        }
        origins.allow([*raw]).map_err(|rule| format!("origins, and {raw:?} is none: {rule}"))?;
    }
    origins.allow(raws).map_err(|rule| rule.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Config, File, Layers};
    use super::*;

    fn allow(raw: &str) -> Result<OriginPolicy, Wanted> {
        let mut origins = OriginPolicy::default();
        allowed(&Value::Bare(raw), &mut origins).map(|()| origins)
    }

    #[test]
    fn a_list_of_origins_takes_the_place_of_the_default() {
        let origins = allow("https://app.example.com,https://*.example.org").expect("two");
        for (origin, fits) in [
            (&b"https://app.example.com"[..], true),
            (b"https://a.example.org", true),
            (b"https://broker.example", false),
        ] {
            let found = origins.check([origin], Some("broker.example"));
            assert_eq!(found.is_ok(), fits, "{}", origin.escape_ascii());
        }
        let nobody = allow("none").expect("an empty list");
        assert!(nobody.check([&b"https://broker.example"[..]], Some("broker.example")).is_err());
        assert!(nobody.check([], None).is_ok());
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for (raw, mend) in [
            ("https://a.example/", "\"https://a.example/\" is none"),
            ("localhost:5173", "as browsers send it"),
            ("null,null", "there twice"),
            ("", "is none"),
        ] {
            let wrong = allow(raw).expect_err(raw);
            assert!(wrong.contains(mend), "{raw}: {wrong}");
        }
        let many: Vec<String> = (0..=ORIGINS_MAX).map(|n| format!("a{n}.example")).collect();
        assert_eq!(allow(&many.join(",")), Err("at most 256 origins".to_owned()));
    }

    #[test]
    fn the_list_and_who_sends_none_are_set_apart() {
        let text = "[origin]\nallowed = [\"https://a.example\", \"same-host\"]\nmissing = false";
        let file = Some(File { name: "f.toml", text });
        let config = Config::parse(&Layers { file, ..Layers::default() }).expect("a good file");
        let origins = config.origins;
        assert!(origins.check([&b"https://a.example"[..]], Some("b.example")).is_ok());
        assert!(origins.check([&b"https://b.example"[..]], Some("b.example")).is_ok());
        assert!(origins.check([], Some("b.example")).is_err());
    }
}
