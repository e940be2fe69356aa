//! Meta-commands: what begins with a backslash and is done by the shell itself.
//!
//! psql's names where it has the command. Scripts written for psql hold commands that set up
//! psql; those that change nothing for us are passed over with a word about it, so that such a
//! script loads.

use super::format::Format;

/// A parsed meta-command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meta {
    /// `\c NAME`: into another database; without a name say where we are.
    Connect(Option<String>),
    /// `\d [NAME]`: describe a table, or list all relations.
    Describe(Option<String>),
    /// `\dt`, `\dv`, `\di`: list relations of a kind.
    List(Relations),
    /// `\timing [on|off]`.
    Timing(Option<bool>),
    /// `\x`: expanded display on and off.
    Expanded,
    /// `\format NAME`.
    Format(Format),
    /// `\i FILE`.
    Include(String),
    /// `\echo TEXT`.
    Echo(String),
    /// `\set ON_ERROR_STOP on|off`.
    StopOnError(bool),
    /// `\conninfo`.
    Connection,
    /// `\q`.
    Quit,
    /// `\?`.
    Help,
    /// Known to psql, without effect here; the word to say about it.
    Ignored(String),
}

/// Kinds of relations to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relations {
    /// Tables.
    Tables,
    /// Views.
    Views,
    /// Indexes.
    Indexes,
    /// Databases, with `\l`.
    Databases,
}

/// What `\?` prints, and what completion offers.
pub const COMMANDS: [(&str, &str, &str); 15] = [
    ("\\c", "[DATABASE]", "connect to another database, or say where the session is"),
    ("\\conninfo", "", "say where the session is"),
    ("\\d", "[TABLE]", "describe a table; without a name list tables and views"),
    ("\\dt", "", "list tables"),
    ("\\dv", "", "list views"),
    ("\\di", "", "list indexes"),
    ("\\l", "", "list databases"),
    ("\\echo", "TEXT", "print the text"),
    ("\\format", "NAME", "print results as table, csv, tsv, json or ndjson"),
    ("\\g", "", "end the statement, as ; does"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\timing", "[on|off]", "print how long each statement takes"),
    ("\\x", "", "print each record as a block of lines, or no longer"),
    ("\\q", "", "leave the shell (so does Ctrl-D)"),
    ("\\?", "", "print this list"),
];

/// Commands of psql that change nothing here.
const IGNORED: [&str; 8] =
    ["\\encoding", "\\pset", "\\unset", "\\restrict", "\\unrestrict", "\\o", "\\a", "\\t"];

/// Reads a command with its backslash.
///
/// # Errors
/// A sentence about what is wrong with it.
pub fn parse(text: &str) -> Result<Meta, String> {
    let text = text.trim();
    let name_end = text[1..].find(|c: char| c.is_whitespace()).map_or(text.len(), |end| end + 1);
    // psql lets semicolons trail the command: `\c chinook;`
    let name = text[..name_end].trim_end_matches(';');
    let rest = text[name_end..].trim();
    let argument = || {
        Some(unquote(rest.trim_end_matches(';').trim_end())).filter(|argument| !argument.is_empty())
    };
    Ok(match name {
        "\\c" | "\\connect" => Meta::Connect(argument().filter(|name| name != "-")),
        "\\conninfo" => Meta::Connection,
        "\\d" | "\\d+" => Meta::Describe(identifier(rest)),
        "\\dt" | "\\dt+" => Meta::List(Relations::Tables),
        "\\dv" => Meta::List(Relations::Views),
        "\\di" => Meta::List(Relations::Indexes),
        "\\l" => Meta::List(Relations::Databases),
        "\\timing" => Meta::Timing(argument().map(|word| switch(&word)).transpose()?),
        "\\x" => Meta::Expanded,
        "\\format" => Meta::Format(format(&argument().unwrap_or_default())?),
        "\\i" | "\\ir" | "\\include" => {
            Meta::Include(argument().ok_or_else(|| format!("{name} wants the name of a file"))?)
        }
        "\\echo" | "\\qecho" => Meta::Echo(unquote(rest)),
        "\\set" => set(rest)?,
        "\\q" | "\\quit" | "\\exit" => Meta::Quit,
        "\\?" | "\\h" | "\\help" => Meta::Help,
        name if IGNORED.contains(&name) => Meta::Ignored(format!("{name} has no effect here")),
        name => {
            let known = COMMANDS.iter().map(|(name, _, _)| *name);
            let hint = config::nearest(name, known)
                .map_or("\\? lists what there is".into(), |near| format!("did you mean {near}?"));
            return Err(format!("unknown command {name}; {hint}"));
        }
    })
}

/// psql's variables: the one that says whether an error ends the run is ours too.
fn set(rest: &str) -> Result<Meta, String> {
    let (variable, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if variable != "ON_ERROR_STOP" {
        return Ok(Meta::Ignored(format!("\\set {variable} has no effect here")));
    }
    Ok(Meta::StopOnError(if value.trim().is_empty() { true } else { switch(value.trim())? }))
}

fn switch(word: &str) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_str() {
        "on" | "1" | "true" | "yes" => Ok(true),
        "off" | "0" | "false" | "no" => Ok(false),
        _ => Err(format!("{word:?} is neither on nor off")),
    }
}

fn format(name: &str) -> Result<Format, String> {
    Format::NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, format)| *format)
        .ok_or_else(|| format!("{name:?} is no format; there are table, csv, tsv, json and ndjson"))
}

/// A name of SQL: folded to lower case unless it is quoted.
fn identifier(text: &str) -> Option<String> {
    let text = text.trim_end_matches(';').trim_end();
    let name = if text.starts_with('"') { unquote(text) } else { text.to_lowercase() };
    Some(name).filter(|name| !name.is_empty())
}

/// Takes one pair of quotes off, undoubling them inside.
fn unquote(text: &str) -> String {
    for quote in ['\'', '"'] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner.replace(&format!("{quote}{quote}"), &quote.to_string());
        }
    }
    text.to_owned()
}

/// The text of `\?`.
pub fn help() -> String {
    let width = COMMANDS
        .iter()
        .map(|(name, argument, _)| name.len() + argument.len() + 1)
        .max()
        .unwrap_or(0);
    COMMANDS.iter().fold(String::new(), |mut text, (name, argument, help)| {
        let usage = format!("{name} {argument}");
        text.push_str(&format!("{usage:width$}  {help}\n"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (text, meta) in [
            ("\\c chinook;", Meta::Connect(Some("chinook".into()))),
            ("\\connect \"My Db\"", Meta::Connect(Some("My Db".into()))),
            ("\\c", Meta::Connect(None)),
            ("\\d", Meta::Describe(None)),
            ("\\d  Album ;", Meta::Describe(Some("album".into()))),
            ("\\d \"Album\"", Meta::Describe(Some("Album".into()))),
            ("\\dt;", Meta::List(Relations::Tables)),
            ("\\timing", Meta::Timing(None)),
            ("\\timing off", Meta::Timing(Some(false))),
            ("\\i 'a b.sql'", Meta::Include("a b.sql".into())),
            ("\\echo 'it''s;'", Meta::Echo("it's;".into())),
            ("\\set ON_ERROR_STOP", Meta::StopOnError(true)),
            ("\\set ON_ERROR_STOP off", Meta::StopOnError(false)),
            ("\\set VERBOSITY terse", Meta::Ignored("\\set VERBOSITY has no effect here".into())),
            ("\\format ndjson", Meta::Format(Format::Ndjson)),
            ("\\q", Meta::Quit),
        ] {
            assert_eq!(parse(text), Ok(meta), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, said) in [
            ("\\dtt", "unknown command \\dtt; did you mean \\dt?"),
            ("\\copy t from x", "unknown command \\copy; \\? lists what there is"),
            ("\\timing maybe", "\"maybe\" is neither on nor off"),
            ("\\i", "\\i wants the name of a file"),
            ("\\format xml", "\"xml\" is no format; there are table, csv, tsv, json and ndjson"),
            ("\\", "unknown command \\; did you mean \\c?"),
        ] {
            assert_eq!(parse(text), Err(said.into()), "{text}");
        }
    }

    #[test]
    fn every_command_of_the_help_parses() {
        for (name, _, _) in COMMANDS {
            let text = match name {
                "\\i" => "\\i x".to_owned(),
                "\\format" => "\\format csv".to_owned(),
                // The splitter takes it.
                "\\g" => continue,
                name => name.to_owned(),
            };
            assert!(parse(&text).is_ok(), "{text}");
        }
        assert!(help().contains("\\dt "));
    }
}
