//! The configuration file: TOML, one flat table of settings, each entry with its line.

use std::ops::Range;
use std::path::Path;

use toml_edit::{ArrayOfTables, Document, Item, Value};

use crate::source::{Problem, Source};
use crate::suggest;
use crate::{SETTINGS, Setting};

/// A file longer than this is no configuration of ours.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// One entry as text, ready for the same parsers that read flags.
pub(crate) struct Entry {
    pub setting: Setting,
    pub value: String,
    pub source: Source,
}

/// Reads `path`; what is wrong goes to `problems`, what is right is returned.
pub(crate) fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let text = fs_err::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("is longer than {FILE_BYTES_MAX} bytes")));
        }
        fs_err::read_to_string(path)
    });
    match text {
        Ok(text) => parse(path, &text, problems),
        Err(error) => {
            problems.push(Problem::Unreadable { path: path.into(), reason: error.to_string() });
            Vec::new()
        }
    }
}

/// Reads the text of `path`.
pub(crate) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let at = |offset: usize| Source::File { path: path.into(), line: line_of(text, offset) };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            problems
                .push(Problem::Syntax { source: at(offset), reason: error.message().to_owned() });
            return Vec::new();
        }
    };
    let mut entries = Vec::new();
    for (name, item) in document.as_table() {
        let key_span = document.as_table().key(name).and_then(|key| key.span());
        let source = at(key_span.or_else(|| item.span()).map_or(0, |span| span.start));
        let Some(setting) = Setting::by_name(name) else {
            let nearest = suggest::nearest(name, SETTINGS.iter().map(|row| row.name));
            problems.push(Problem::UnknownKey { source, key: name.to_owned(), nearest });
            continue;
        };
        if let (Setting::Authentication, Some(rules)) = (setting, item.as_array_of_tables()) {
            match rules_text(rules) {
                Ok(value) => entries.push(Entry { setting, value, source }),
                Err((span, key)) => {
                    let source = at(span.map_or(0, |span| span.start));
                    let nearest = suggest::nearest(&key, RULE_KEYS);
                    problems.push(Problem::UnknownKey { source, key, nearest });
                }
            }
            continue;
        }
        let between = if setting == Setting::Authentication { ";" } else { "," };
        match text_of(item, between) {
            Some(value) => entries.push(Entry { setting, value, source }),
            None => problems.push(Problem::BadValue {
                source,
                setting,
                value: item.to_string().trim().to_owned(),
                reason: "is neither text, a number nor a list of texts".into(),
            }),
        }
    }
    entries
}

/// The keys of a rule, in the order in which a flag has their values.
const RULE_KEYS: [&str; 5] = ["type", "database", "user", "address", "method"];

/// The rules of `[[authentication]]` as the text a flag would carry; the key that is none.
fn rules_text(rules: &ArrayOfTables) -> Result<String, (Option<Range<usize>>, String)> {
    let mut texts = Vec::new();
    for rule in rules {
        let unknown = rule
            .iter()
            .find(|(key, item)| !RULE_KEYS.contains(key) || text_of(item, ",").is_none());
        if let Some((key, _)) = unknown {
            return Err((rule.key(key).and_then(|key| key.span()), key.to_owned()));
        }
        let words = RULE_KEYS.map(|key| {
            let default = match key {
                "type" => "host",
                // A rule that does not say how is none.
                "method" => "",
                _ => "all",
            };
            rule.get(key).and_then(|item| text_of(item, ",")).unwrap_or_else(|| default.to_owned())
        });
        texts.push(words.join(" "));
    }
    Ok(texts.join("; "))
}

/// A scalar or a list of scalars as the text a flag would carry.
/// `between` separates the elements of a list.
fn text_of(item: &Item, between: &str) -> Option<String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(truth) => Some(truth.value().to_string()),
        _ => None,
    };
    match item.as_value()? {
        Value::Array(list) => {
            let parts: Option<Vec<String>> = list.iter().map(scalar).collect();
            parts.map(|parts| parts.join(between))
        }
        value => scalar(value),
    }
}

/// The line, from 1, in which the byte `offset` of `text` stands.
fn line_of(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}
