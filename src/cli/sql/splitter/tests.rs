//! Every lexical rule as a row, and the law that chunking changes nothing.

use super::*;

/// The pieces of `input` fed in chunks of `size`; errors as text at the end.
fn split_in(input: &[u8], size: usize) -> Vec<String> {
    let mut splitter = Splitter::new();
    let mut said = Vec::new();
    let mut say = |result: Result<Option<Piece>, SplitError>| match result {
        Ok(Some(Piece::Statement { text, line })) => {
            said.push(format!("{line}: {text}"));
            true
        }
        Ok(Some(Piece::Meta { text, line })) => {
            said.push(format!("{line}! {text}"));
            true
        }
        Ok(None) => false,
        Err(error) => {
            said.push(error.to_string());
            true
        }
    };
    for chunk in input.chunks(size) {
        splitter.feed(chunk);
        while say(splitter.next_piece()) {}
    }
    while say(splitter.finish()) {}
    said
}

fn check(input: &str, expected: &[&str]) {
    assert_eq!(split_in(input.as_bytes(), usize::MAX), expected, "{input:?}");
    for size in 1..=8 {
        assert_eq!(split_in(input.as_bytes(), size), expected, "{input:?} in chunks of {size}");
    }
}

#[test]
fn statements_end_at_semicolons() {
    check("", &[]);
    check("  \n;;\n ; ", &[]);
    check("select 1", &["1: select 1"]);
    check("select 1;select 2 ;\n\nselect\n3;", &["1: select 1", "1: select 2", "3: select\n3"]);
    check("\u{feff}select 1;", &["1: select 1"]);
    check("select 1;\r\nselect 2;\r\n", &["1: select 1", "2: select 2"]);
}

#[test]
fn quotes_hide_semicolons() {
    check("select 'a;b', \"c;d\"; x", &["1: select 'a;b', \"c;d\"", "1: x"]);
    check("select 'it''s; \"', 1; x", &["1: select 'it''s; \"', 1", "1: x"]);
    check("select 'a\\'; x", &["1: select 'a\\'", "1: x"]);
    check("select E'a\\';b', e'\\\\'; x", &["1: select E'a\\';b', e'\\\\'", "1: x"]);
    check("select E'a''\\';'; x", &["1: select E'a''\\';'", "1: x"]);
    check("select like'a\\'; x", &["1: select like'a\\'", "1: x"]);
    check("E'\\';'; x", &["1: E'\\';'", "1: x"]);
}

#[test]
fn dollar_quotes() {
    check("select $$a;b$$; x", &["1: select $$a;b$$", "1: x"]);
    check("do $f$ $$;$$ $g$; $ $f$; x", &["1: do $f$ $$;$$ $g$; $ $f$", "1: x"]);
    check("select $1;x$y$;z", &["1: select $1", "1: x$y$", "1: z"]);
    check("select $f$ $ff$ $f$; x", &["1: select $f$ $ff$ $f$", "1: x"]);
    check("select $", &["1: select $"]);
}

#[test]
fn comments() {
    check("-- a;\nselect 1; -- b;\n", &["2: select 1"]);
    check("/* a; /* b; */ ; */ select 1 /* ; */ ; /* c */", &["1: select 1 /* ; */"]);
    check("select 1 - 2 / 3 -- '\n; x", &["1: select 1 - 2 / 3 -- '", "2: x"]);
    check("select 4 /", &["1: select 4 /"]);
    check("/* a\nb */\n\\d t", &["3! \\d t"]);
}

#[test]
fn meta_commands_take_their_line() {
    check("\\c chinook;\nselect 1;\n", &["1! \\c chinook;", "2: select 1"]);
    check("  \\dt  \n\\q", &["1! \\dt", "2! \\q"]);
    check("select 1 \\g\nselect 2;", &["1: select 1", "2: select 2"]);
    check("select 1 \\gx;x", &["1: select 1 \\gx", "1: x"]);
    check("select a\n\\b;", &["1: select a\n\\b"]);
}

#[test]
fn what_is_left_open_is_named() {
    check(
        "x;\nselect 'a;\n",
        &["1: x", "the input ends inside a string; the statement begins in line 2"],
    );
    check(
        "select \"a",
        &["the input ends inside a quoted identifier; the statement begins in line 1"],
    );
    check(
        "select $a$ $$",
        &["the input ends inside a dollar-quoted string; the statement begins in line 1"],
    );
    check("\n/* /* */", &["the input ends inside a comment; the statement begins in line 2"]);
}

#[test]
fn bytes_that_are_no_text() {
    assert_eq!(
        split_in(b"select '\xff';\nselect 2;", 3),
        ["the statement that begins in line 1 is not valid UTF-8", "2: select 2"]
    );
}

#[test]
fn prompts_know_what_is_open() {
    for (input, open) in [
        ("", Open::Nothing),
        ("select 1;", Open::Nothing),
        ("select", Open::Statement),
        ("select 1 -- x\n", Open::Statement),
        ("select '", Open::String),
        ("select \"", Open::Identifier),
        ("select $$", Open::DollarQuote),
        ("/*", Open::Comment),
    ] {
        let mut splitter = Splitter::new();
        splitter.feed(input.as_bytes());
        while let Ok(Some(_)) = splitter.next_piece() {}
        assert_eq!(splitter.open(), open, "{input}");
    }
}

#[test]
fn a_statement_without_end_is_refused() {
    let mut splitter = Splitter::new();
    splitter.feed(b"\nselect '");
    let chunk = vec![b'a'; 16 << 20];
    let mut refused = None;
    for _ in 0..5 {
        splitter.feed(&chunk);
        if let Err(error) = splitter.next_piece() {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(SplitError::TooLong { line: 2 }));
}

/// Whatever the bytes, chunking changes nothing, and nothing panics.
#[test]
fn chunking_changes_nothing_for_random_input() {
    const ALPHABET: &[u8] = b"ae1;;'\"$$*/-\\\n gE_\xc3\xa9";
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..3_000 {
        let length = (next() % 40) as usize;
        let input: Vec<u8> =
            (0..length).map(|_| ALPHABET[(next() % ALPHABET.len() as u64) as usize]).collect();
        let whole = split_in(&input, usize::MAX);
        for size in [1, 2, 3, 7] {
            assert_eq!(
                split_in(&input, size),
                whole,
                "{:?} in chunks of {size}",
                String::from_utf8_lossy(&input)
            );
        }
    }
}
