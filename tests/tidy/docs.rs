//! What the documents claim, compared with the code and with the tree.
//!
//! Not here: the words they use (`words.rs`). Invariant: a table that can't be read at all is a
//! complaint, so a change of its form can't switch a rule off.

use fanfare::broker::Disconnect;
use fanfare::protocol::raw;

/// One constant of `src/limits.rs`, or one row of `docs/limits.md`.
#[derive(Clone, PartialEq, Debug)]
struct Limit {
    name: String,
    value: u64,
}

/// Differences between the constants in `limits` (Rust) and the tables in `table` (Markdown).
pub(crate) fn limits(limits: &str, table: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut coded = Vec::new();
    for statement in limits.split("\npub const ").skip(1) {
        match constant(statement) {
            Some(limit) => coded.push(limit),
            None => found.push(format!("can't read the constant `{:.40}`", statement)),
        }
    }
    let mut told = Vec::new();
    for row in rows(table).filter(|row| row.first().is_some_and(|name| name.starts_with('`'))) {
        match told_limit(&row) {
            Ok(limit) => told.push(limit),
            Err(wrong) => found.push(wrong),
        }
    }
    if coded.is_empty() || told.is_empty() {
        found.push("no constant or no row was found".to_owned());
    }
    for limit in &coded {
        if !told.contains(limit) {
            found.push(format!("docs/limits.md lacks {} = {}", limit.name, limit.value));
        }
    }
    for limit in &told {
        if !coded.contains(limit) {
            found.push(format!("src/limits.rs lacks {} = {}", limit.name, limit.value));
        }
    }
    let names = |of: &[Limit]| of.iter().map(|limit| limit.name.clone()).collect::<Vec<_>>();
    if found.is_empty() && names(&coded) != names(&told) {
        found.push("docs/limits.md and src/limits.rs differ in order".to_owned());
    }
    found
}

/// Reads `NAME: TYPE = 256 * 1024;`.
fn constant(statement: &str) -> Option<Limit> {
    let (name, rest) = statement.split_once(':')?;
    let (_, expression) = rest.split_once('=')?;
    let (expression, _) = expression.split_once(';')?;
    let factors = expression.split('*').map(|factor| factor.trim().replace('_', "").parse::<u64>());
    let value = factors.collect::<Result<Vec<u64>, _>>().ok()?.into_iter().product();
    Some(Limit { name: name.to_owned(), value })
}

/// Reads one row, and holds its unit against its name.
fn told_limit(row: &[&str]) -> Result<Limit, String> {
    let [name, value, unit, happens] = row else {
        return Err(format!("a row of docs/limits.md does not have four cells: {row:?}"));
    };
    let name = name.trim_matches('`');
    let of_name = [("_BYTES", "bytes"), ("_MS", "ms"), ("_MESSAGES", "messages")];
    let wanted = of_name.iter().find(|(part, _)| name.contains(part)).map(|(_, unit)| *unit);
    if unit.is_empty()
        || happens.is_empty()
        || wanted.is_some_and(|wanted| !unit.starts_with(wanted))
    {
        return Err(format!("docs/limits.md says `{unit}`, `{happens}` of {name}"));
    }
    let digits = value.replace(',', "");
    let value = digits.parse().map_err(|_| format!("{name}: `{value}` is no number"))?;
    Ok(Limit { name: name.to_owned(), value })
}

/// Differences between the raw protocol's close codes and the table in `table`.
pub(crate) fn close_codes(table: &str) -> Vec<String> {
    let coded: Vec<[String; 2]> = Disconnect::ALL
        .into_iter()
        .map(|reason| {
            let code = raw::close_code(reason).map_or("–".to_owned(), |code| code.to_string());
            [format!("`{}`", reason.label()), code]
        })
        .collect();
    let told: Vec<Vec<&str>> =
        rows(table).filter(|row| row.first().is_some_and(|cell| cell.starts_with('`'))).collect();
    let mut found = Vec::new();
    for [reason, code] in &coded {
        let row = told.iter().find(|row| row.first() == Some(&reason.as_str()));
        match row.map(Vec::as_slice) {
            Some([_, told_code, what, client]) if told_code == code => {
                if what.is_empty() || client.is_empty() {
                    found.push(format!("{reason}: an empty cell"));
                }
            }
            other => found.push(format!("{reason} is {code} in the code, {other:?} in the table")),
        }
    }
    if told.len() != coded.len() {
        found.push(format!("{} reasons in the code, {} in the table", coded.len(), told.len()));
    }
    found
}

/// Tests that the last column of `table` names and `sources` (Rust) don't have.
pub(crate) fn missing_tests(table: &str, sources: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut named = 0;
    for row in rows(table) {
        let Some(tests) = row.last().filter(|cell| cell.starts_with('`')) else { continue };
        for test in tests.split(", ").map(|test| test.trim_matches('`')) {
            named += 1;
            if !sources.contains(&format!("#[test]\nfn {test}()"))
                && !sources.contains(&format!("#[test]\n    fn {test}()"))
            {
                found.push(format!("there is no test `{test}`"));
            }
        }
    }
    if named == 0 {
        found.push("no test was found".to_owned());
    }
    found
}

/// The cells of every row of every table.
fn rows(markdown: &str) -> impl Iterator<Item = Vec<&str>> {
    markdown.lines().filter_map(|line| {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(str::trim).collect())
    })
}

/// Links of the document at `path` that lead nowhere. `file_text` gives the text of a path of
/// the tree.
pub(crate) fn links(
    path: &str,
    text: &str,
    file_text: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for target in targets(text) {
        if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
            continue;
        }
        let (to, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let to = if to.is_empty() { path.to_owned() } else { beside(path, to) };
        match file_text(&to) {
            None => found.push(format!("{target} leads nowhere")),
            Some(text) => {
                if !anchor.is_empty() && !anchors(&text).any(|known| known == anchor) {
                    found.push(format!("{to} has no heading for #{anchor}"));
                }
            }
        }
    }
    found
}

/// Documents that the file at `path` names by their path from the root, and that do not exist.
pub(crate) fn mentions(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    if path.ends_with(".md") || path.starts_with("tests/tidy") {
        return Vec::new();
    }
    let after = text.match_indices("docs/").map(|(at, _)| &text[at..]);
    after
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c)).next())
        .filter_map(|named| Some(named?.split_once(".md")?.0.to_owned() + ".md"))
        .filter(|named| !exists(named))
        .map(|named| format!("{named} does not exist"))
        .collect()
}

/// The targets of all links outside code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // What stands between an odd and an even backtick is code.
        let prose: String = line.split('`').step_by(2).collect();
        found.extend(
            prose
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split_once(')'))
                .map(|(target, _)| target.to_owned()),
        );
    }
    found
}

/// The path of `to`, as written in the file at `path`.
fn beside(path: &str, to: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors that a renderer gives to the headings of `text`.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn a_limit_that_differs_is_found() {
    let code = "//! A.\n\npub const A_BYTES: usize = 2 * 1_024;\npub const B: u8 = 3;\n";
    let table =
        "| Name | Value |\n|---|---|\n| `A_BYTES` | 2,048 | bytes | x |\n| `B` | 3 | y | z |";
    assert_eq!(limits(code, table), [""; 0]);
    for (from, to) in [
        ("2,048", "2,049"),
        ("| `B` | 3 | y | z |", ""),
        ("bytes", "ms"),
        ("| z |", "| |"),
        ("`B` | 3 | y | z |", "`B` | 3 | y | z |\n| `C` | 3 | y | z |"),
        ("| 3 | y |", "| 3 |"),
    ] {
        assert_ne!(limits(code, &table.replace(from, to)), [""; 0], "{from} as {to}");
    }
    let (head, b) = table.split_at(table.find("| `B`").expect("the row of B"));
    let swapped = format!("{b}\n{head}");
    assert_ne!(limits(code, &swapped), [""; 0]);
    assert_ne!(limits(&code.replace('3', "A_BYTES"), table), [""; 0]);
    assert_ne!(limits("", ""), [""; 0]);
}

#[test]
fn a_close_code_that_differs_is_found() {
    let row = |reason: Disconnect| {
        let code = raw::close_code(reason).map_or("–".to_owned(), |code| code.to_string());
        format!("| `{}` | {code} | what | do |\n", reason.label())
    };
    let table: String = Disconnect::ALL.into_iter().map(row).collect();
    assert_eq!(close_codes(&table), [""; 0]);
    for (from, to) in
        [("1001", "1012"), ("| `io` | – | what | do |", ""), ("4101 | what", "4101 |")]
    {
        assert_ne!(close_codes(&table.replace(from, to)), [""; 0], "{from} as {to}");
    }
    assert_ne!(close_codes(&format!("{table}| `bored` | 4999 | what | do |\n")), [""; 0]);
    assert_ne!(close_codes(""), [""; 0]);
}

#[test]
fn a_test_that_is_named_and_does_not_exist_is_found() {
    let sources =
        "#[test]\nfn one() {}\nmod tests {\n    #[test]\n    fn two() {}\n}\nfn three() {}\n";
    assert_eq!(
        missing_tests("| Attack | Tests |\n|---|---|\n| x | `one`, `two` |\n", sources),
        [""; 0]
    );
    for bad in ["| x | `three` |", "| x | `one`, `four` |", "| x | none |"] {
        assert_eq!(missing_tests(bad, sources).len(), 1, "{bad}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let tree = |path: &str| match path {
        "docs/a.md" => Some("# One two: `three`".to_owned()),
        "README.md" => Some(String::new()),
        _ => None,
    };
    for good in ["a.md", "./a.md#one-two-three", "#one-two-three", "../README.md", "https://x.y"] {
        assert_eq!(links("docs/a.md", &format!("see [it]({good})."), tree), [""; 0], "{good}");
    }
    for bad in ["b.md", "a.md#four", "#four", "../a.md"] {
        assert_eq!(links("docs/a.md", &format!("see [it]({bad})."), tree).len(), 1, "{bad}");
    }
    let code = "```rust\nf[0](x)\n```\nand `[a](b)`";
    assert_eq!(links("docs/a.md", code, tree), [""; 0]);
}

#[test]
fn a_mention_of_a_document_that_is_not_there_is_found() {
    let exists = |path: &str| path == "docs/a.md";
    assert_eq!(
        mentions("src/a.rs", "//! See `docs/a.md`, in docs/ and docs/a.md.", exists),
        [""; 0]
    );
    assert_eq!(
        mentions("src/a.rs", "//! See `docs/b-1.md`.", exists),
        ["docs/b-1.md does not exist"]
    );
}
