//! Patterns over room names, segment by segment from both ends: the twin of `broker::RoomPattern`
//! for the fuzz target and the law beside it.

use fanfare::broker::RoomPattern;

/// One fuzz input: a pattern and a name, a line each.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, "a:b"));
    let parsed = RoomPattern::parse(pattern);
    assert_eq!(parsed.is_ok(), is_pattern(pattern), "{pattern:?}");
    let Ok(parsed) = parsed else { return };
    assert_eq!(parsed.as_str(), pattern);
    assert_eq!(parsed.matches(name), matches(pattern, name), "{pattern:?} against {name:?}");
    // Without stars it stands for itself alone; with one for a name, it fits that name.
    if !pattern.contains('*') {
        assert!(parsed.matches(pattern), "{pattern:?}");
    }
    let example = pattern.replace("**", "x:y").replace('*', "z");
    assert!(parsed.matches(&example), "{pattern:?} against {example:?}");
}

/// Whether it is 1 to 128 bytes of printable ASCII, in segments that are whole words or stars.
fn is_pattern(raw: &str) -> bool {
    let printable = raw.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    let segments: Vec<&str> = raw.split(':').collect();
    let last = segments.len() - 1;
    let fits = |(at, segment): (usize, &&str)| match segment.matches('*').count() {
        0 => !segment.is_empty(),
        1 => segment.len() == 1,
        2 => segment.len() == 2 && at == last,
        _ => false,
    };
    (1..=128).contains(&raw.len()) && printable && segments.iter().enumerate().all(fits)
}

/// Whether the name has the pattern's segments, a last `**` being any further ones but none.
fn matches(pattern: &str, name: &str) -> bool {
    let mut wanted: Vec<&str> = pattern.split(':').collect();
    let mut given: Vec<&str> = name.split(':').collect();
    if wanted.last() == Some(&"**") {
        wanted.pop();
        if given.len() <= wanted.len() {
            return false;
        }
        given.truncate(wanted.len());
    }
    wanted.len() == given.len()
        && wanted.iter().zip(&given).all(|(wanted, given)| *wanted == "*" || wanted == given)
}
