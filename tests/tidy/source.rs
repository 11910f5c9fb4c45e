//! What the rules look at: the files of the tree, and Rust code without comments and literals.
//!
//! Not here: any rule. Invariant: [`code`] keeps every line break, so a line found in its result is
//! the same line of the file.

use std::fs;
use std::path::Path;

/// One text file of the tree.
pub(crate) struct File {
    /// Where it is, from the root, with `/` between the parts.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

/// Folders that hold what tools made, or bytes to feed them, not what we wrote.
const FOR_TOOLS: [&str; 8] =
    [".git", ".venv", "__pycache__", "artifacts", "corpus", "node_modules", "seeds", "target"];

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the tree, in the order of their paths.
pub(crate) fn files() -> Vec<File> {
    let mut found = Vec::new();
    walk(root(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.iter().any(|file| file.path == "src/lib.rs"), "the tree was not found");
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<File>) {
    let entries = fs::read_dir(folder).expect("a folder of the tree can be listed");
    for entry in entries {
        let entry = entry.expect("an entry of the tree can be read");
        let Ok(name) = entry.file_name().into_string() else { continue };
        if FOR_TOOLS.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("an entry of the tree has a type");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(File { path, text });
        }
    }
}

/// `text` with everything blanked that is no code: comments, strings, characters.
pub(crate) fn code(text: &str) -> String {
    replace(text, |piece| piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect())
}

/// `text` without its strings and characters: what is left can be broken into lines.
pub(crate) fn without_literals(text: &str) -> String {
    replace(text, |piece| match piece.starts_with('/') {
        true => piece.to_owned(),
        false => piece.chars().filter(|c| *c == '\n').collect(),
    })
}

/// `text`, each comment and literal in it replaced by what `by` makes of it.
fn replace(text: &str, by: impl Fn(&str) -> String) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = blank_end(&chars, at);
        if end == at {
            kept.push(chars[at]);
            at += 1;
        } else {
            kept.push_str(&by(&chars[at..end].iter().collect::<String>()));
            at = end;
        }
    }
    kept
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn blank_end(chars: &[char], at: usize) -> usize {
    let next = |ahead: usize| chars.get(at + ahead).copied().unwrap_or(' ');
    let starts_word = at == 0 || !is_word(chars[at - 1]);
    match chars[at] {
        '/' if next(1) == '/' => find(chars, at, "\n"),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if starts_word => raw_string_end(chars, at + 1).unwrap_or(at),
        'b' if starts_word && next(1) == 'r' => raw_string_end(chars, at + 2).unwrap_or(at),
        '\'' if next(1) == '\\' => find(chars, at + 3, "'") + 1,
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
    .min(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `at` is past the `r`. None when it starts a name, such as `r#type`.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars.get(at..)?.iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some(find(chars, at + hashes + 1, &close) + close.len())
}

fn find(chars: &[char], from: usize, wanted: &str) -> usize {
    let wanted: Vec<char> = wanted.chars().collect();
    let fits = |at: &usize| chars[*at..].starts_with(&wanted);
    (from..chars.len()).find(fits).unwrap_or(chars.len())
}

/// Whether `c` can be part of a name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every name of `text`, with its line (from 1).
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(line, content)| {
        content.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(move |w| (line + 1, w))
    })
}

#[test]
fn comments_and_literals_are_blanked_and_lines_kept() {
    let text =
        "a /* b /* c */ d */ e\n// f\ng(\"h\\\"i\", 'j', b\"k\", r#\"l\"m\"#, '\\'') + n<'o>\n";
    let words: Vec<(usize, String)> =
        words(&code(text)).map(|(line, word)| (line, word.to_owned())).collect();
    let words: Vec<(usize, &str)> = words.iter().map(|(line, word)| (*line, &**word)).collect();
    assert_eq!(words, [(1, "a"), (1, "e"), (3, "g"), (3, "b"), (3, "n"), (3, "o")]);
    assert_eq!(code(text).lines().count(), text.lines().count());
}

#[test]
fn names_that_look_like_the_start_of_a_literal_stay() {
    assert_eq!(code("for r in br { r#type(b) }"), "for r in br { r#type(b) }");
}
