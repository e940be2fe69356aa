//! The configuration file: TOML, one flat table of settings, each entry with its line.

use std::path::Path;

use toml_edit::{Document, Item, Value};

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
        match text_of(item) {
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

/// A scalar or a list of scalars as the text a flag would carry.
fn text_of(item: &Item) -> Option<String> {
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
            parts.map(|parts| parts.join(","))
        }
        value => scalar(value),
    }
}

/// The line, from 1, in which the byte `offset` of `text` stands.
fn line_of(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}
