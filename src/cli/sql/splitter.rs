//! Cuts a stream of bytes into statements and meta-commands, each as soon as it is complete.
//!
//! The splitter knows PostgreSQL's lexical rules and no grammar: strings (`'..'` with doubled
//! quotes, `E'..'` with backslashes), quoted identifiers, dollar quotes, line comments and nested
//! block comments. A `;` outside of all of them ends a statement. A `\` outside of all of them
//! begins a meta-command that reaches to the end of its line, where no statement is open;
//! inside an open statement only `\g` is known, which ends it as `;` does.
//!
//! ```text
//!   feed(bytes) ──> pending ──scan──> next(): Statement { "SELECT 1", line 3 }
//!                      │                      Meta      { "\c chinook;", line 4 }
//!                      └── finish(): the last statement without `;`, or what was left open
//! ```
//!
//! Bytes are looked at once: the scan goes on where it stopped when more arrive. What is pending
//! is bounded by [`STATEMENT_BYTES_MAX`].

use std::fmt;

/// A statement longer than this is refused before it is sent: the server takes less.
pub const STATEMENT_BYTES_MAX: usize = 64 << 20;

/// A complete piece of input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// A statement without its `;`, without comments and white space around it.
    Statement {
        /// The text to send.
        text: String,
        /// The line, from 1, in which it begins.
        line: usize,
    },
    /// A meta-command with its backslash, without white space at its end.
    Meta {
        /// The command and its arguments.
        text: String,
        /// The line, from 1, in which it stands.
        line: usize,
    },
}

/// What is still open: the prompt shows it, and the end of input may not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// Nothing: a statement may begin.
    Nothing,
    /// A statement that lacks its `;`.
    Statement,
    /// A string.
    String,
    /// A quoted identifier.
    Identifier,
    /// A dollar-quoted string.
    DollarQuote,
    /// A block comment.
    Comment,
}

/// Why input cannot be cut any further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SplitError {
    /// The input ended inside a string, an identifier or a comment.
    Unterminated {
        /// What is open.
        open: Open,
        /// The line in which the statement begins.
        line: usize,
    },
    /// A statement is longer than [`STATEMENT_BYTES_MAX`].
    TooLong {
        /// The line in which it begins.
        line: usize,
    },
    /// A statement is no UTF-8.
    NotUtf8 {
        /// The line in which it begins.
        line: usize,
    },
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated { open, line } => {
                let what = match open {
                    Open::Nothing | Open::Statement => "statement",
                    Open::String => "string",
                    Open::Identifier => "quoted identifier",
                    Open::DollarQuote => "dollar-quoted string",
                    Open::Comment => "comment",
                };
                write!(f, "the input ends inside a {what}; the statement begins in line {line}")
            }
            Self::TooLong { line } => {
                write!(
                    f,
                    "the statement that begins in line {line} is longer than {} MiB",
                    STATEMENT_BYTES_MAX >> 20
                )
            }
            Self::NotUtf8 { line } => {
                write!(f, "the statement that begins in line {line} is not valid UTF-8")
            }
        }
    }
}

impl std::error::Error for SplitError {}

/// Where the scan stands.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// Outside of everything.
    Plain,
    /// In `'..'`; with `escapes` a backslash takes the next byte with it.
    String { escapes: bool },
    /// In `".."`.
    Identifier,
    /// After `--`.
    LineComment,
    /// In `/* .. */`, so many deep.
    BlockComment { depth: u32 },
    /// In `$tag$ .. $tag$`; the delimiter with both dollars.
    Dollar { delimiter: Vec<u8> },
    /// After a backslash, up to the end of the line.
    Meta,
}

/// What one look at the pending bytes gave.
enum Step {
    /// Go on from this position.
    Next(usize),
    /// More bytes are needed to tell.
    Wait,
    /// The statement ends before the first position; scanning goes on at the second.
    End(usize, usize),
}

/// The splitter; one per input.
#[derive(Debug)]
pub struct Splitter {
    pending: Vec<u8>,
    /// Where the open statement begins, once `has_text`.
    start: usize,
    /// Everything before is scanned.
    at: usize,
    state: State,
    /// Whether the open statement has more than white space and comments.
    has_text: bool,
    /// The line of `at` and of `start`.
    line: usize,
    start_line: usize,
    /// No more bytes will come: what would wait is decided as it stands.
    ended: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter at line 1 of its input.
    pub fn new() -> Self {
        Self {
            pending: Vec::new(),
            start: 0,
            at: 0,
            state: State::Plain,
            has_text: false,
            line: 1,
            start_line: 1,
            ended: false,
        }
    }

    /// Appends input; [`Splitter::next_piece`] then gives what is complete.
    pub fn feed(&mut self, bytes: &[u8]) {
        let done = if self.has_text || self.state == State::Meta { self.start } else { self.at };
        if done > 0 {
            self.pending.drain(..done);
            self.start = self.start.saturating_sub(done);
            self.at -= done;
        }
        self.pending.extend_from_slice(bytes);
    }

    /// What is open where the scan stands.
    pub fn open(&self) -> Open {
        match self.state {
            State::String { .. } => Open::String,
            State::Identifier => Open::Identifier,
            State::Dollar { .. } => Open::DollarQuote,
            State::BlockComment { .. } => Open::Comment,
            State::Plain | State::LineComment | State::Meta if self.has_text => Open::Statement,
            State::Plain | State::LineComment | State::Meta => Open::Nothing,
        }
    }

    /// The next complete piece, or `None` until more is fed.
    ///
    /// # Errors
    /// The open statement is too long or no UTF-8. After `NotUtf8` the splitter stands behind the
    /// statement and can go on; after `TooLong` it cannot.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, SplitError> {
        while self.at < self.pending.len() {
            match self.step() {
                Step::Next(at) => self.advance(at),
                Step::Wait => break,
                Step::End(end, next) => {
                    let piece = self.take(end, next)?;
                    if piece.is_some() {
                        return Ok(piece);
                    }
                }
            }
        }
        if self.has_text && self.pending.len() - self.start > STATEMENT_BYTES_MAX {
            return Err(SplitError::TooLong { line: self.start_line });
        }
        Ok(None)
    }

    /// Says that the input is over; what is left is the last statement if nothing but `;` lacks.
    ///
    /// # Errors
    /// The input ends inside a string, an identifier or a comment, or as in `next_piece`.
    pub fn finish(&mut self) -> Result<Option<Piece>, SplitError> {
        self.ended = true;
        if let Some(piece) = self.next_piece()? {
            return Ok(Some(piece));
        }
        match self.open() {
            Open::Nothing if self.state != State::Meta => Ok(None),
            Open::Nothing | Open::Statement => self.take(self.at, self.at),
            open => {
                let line = self.start_line;
                self.discard();
                Err(SplitError::Unterminated { open, line })
            }
        }
    }

    /// Forgets what is open, as after Ctrl-C.
    pub fn discard(&mut self) {
        self.at = self.pending.len();
        self.reset();
    }

    fn reset(&mut self) {
        self.start = self.at;
        self.state = State::Plain;
        self.has_text = false;
    }

    /// Moves the scan to `to`, counting lines.
    fn advance(&mut self, to: usize) {
        self.line += self.pending[self.at..to].iter().filter(|byte| **byte == b'\n').count();
        self.at = to;
    }

    /// Marks the scan's position as the beginning of the statement, if none is open.
    fn begin(&mut self) {
        if !self.has_text {
            self.has_text = true;
            self.start = self.at;
            self.start_line = self.line;
        }
    }

    /// Cuts the statement or meta-command that ends before `end`; scanning goes on at `next`.
    fn take(&mut self, end: usize, next: usize) -> Result<Option<Piece>, SplitError> {
        let (meta, line) = (self.state == State::Meta, self.start_line);
        let bytes = if self.has_text || meta { &self.pending[self.start..end] } else { &[] };
        let text = std::str::from_utf8(bytes).map(|text| text.trim_end().to_owned());
        self.advance(next);
        self.reset();
        let text = text.map_err(|_| SplitError::NotUtf8 { line })?;
        if text.is_empty() {
            return Ok(None);
        }
        Ok(Some(if meta { Piece::Meta { text, line } } else { Piece::Statement { text, line } }))
    }

    fn step(&mut self) -> Step {
        match &self.state {
            State::Plain => self.plain(),
            State::String { escapes } => self.string(*escapes),
            State::Identifier => self.until_quote(b'"'),
            State::LineComment => match self.find(b'\n') {
                // The end of the line is left for `plain`, which counts it as white space.
                Some(end) => self.leave(end),
                None => Step::Next(self.pending.len()),
            },
            State::BlockComment { depth } => self.block_comment(*depth),
            State::Dollar { delimiter } => self.dollar(delimiter.len()),
            State::Meta => match self.find(b'\n') {
                Some(end) => Step::End(end, end + 1),
                None => Step::Next(self.pending.len()),
            },
        }
    }

    fn find(&self, byte: u8) -> Option<usize> {
        self.pending[self.at..].iter().position(|b| *b == byte).map(|offset| self.at + offset)
    }

    /// The byte after the scan's position.
    fn peek(&self) -> Option<u8> {
        self.pending.get(self.at + 1).copied()
    }

    fn leave(&mut self, to: usize) -> Step {
        self.state = State::Plain;
        Step::Next(to)
    }

    /// One step outside of strings and comments.
    fn plain(&mut self) -> Step {
        let byte = self.pending[self.at];
        match (byte, self.peek()) {
            (b'-' | b'/', None) if !self.ended => Step::Wait,
            (b'-', Some(b'-')) => {
                self.state = State::LineComment;
                Step::Next(self.at + 2)
            }
            (b'/', Some(b'*')) => {
                self.state = State::BlockComment { depth: 1 };
                if !self.has_text {
                    self.start_line = self.line;
                }
                Step::Next(self.at + 2)
            }
            (b';', _) => Step::End(self.at, self.at + 1),
            (b'\\', _) => self.backslash(),
            (b'\'', _) => {
                let escapes = self.has_escape_prefix();
                self.begin();
                self.state = State::String { escapes };
                Step::Next(self.at + 1)
            }
            (b'"', _) => {
                self.begin();
                self.state = State::Identifier;
                Step::Next(self.at + 1)
            }
            (b'$', _) => self.maybe_dollar_quote(),
            (byte, _) if byte.is_ascii_whitespace() => Step::Next(self.at + 1),
            (0xef, _) if !self.has_text => self.byte_order_mark(),
            _ => self.word(),
        }
    }

    /// A byte order mark where a statement would begin is white space to us.
    fn byte_order_mark(&mut self) -> Step {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        let rest = &self.pending[self.at..];
        if rest.starts_with(MARK) {
            Step::Next(self.at + MARK.len())
        } else if MARK.starts_with(rest) && !self.ended {
            Step::Wait
        } else {
            self.word()
        }
    }

    /// A word, or one byte that is none.
    fn word(&mut self) -> Step {
        self.begin();
        let word = self.pending[self.at..].iter().take_while(|byte| is_word(**byte)).count();
        Step::Next(self.at + word.max(1))
    }

    /// `E'` begins a string with backslashes where the E is a word of its own.
    fn has_escape_prefix(&self) -> bool {
        if !self.has_text || self.at == self.start {
            return false;
        }
        let before = &self.pending[self.start..self.at];
        let word = before.iter().rev().take_while(|byte| is_word(**byte)).count();
        word == 1 && matches!(before[before.len() - 1], b'e' | b'E')
    }

    /// A backslash outside of everything.
    fn backslash(&mut self) -> Step {
        if !self.has_text {
            self.start = self.at;
            self.start_line = self.line;
            self.state = State::Meta;
            return Step::Next(self.at + 1);
        }
        match &self.pending[self.at + 1..] {
            [] | [b'g'] if !self.ended => Step::Wait,
            // `\g` ends the statement; what follows on its line is not ours to read.
            [b'g', rest @ ..] if !rest.first().is_some_and(|byte| is_word(*byte)) => {
                Step::End(self.at, self.at + 2)
            }
            _ => Step::Next(self.at + 1),
        }
    }

    /// A `$`: the beginning of a dollar quote, or part of a parameter such as `$1`.
    fn maybe_dollar_quote(&mut self) -> Step {
        let after_word =
            self.has_text && self.at > self.start && is_word(self.pending[self.at - 1]);
        let rest = &self.pending[self.at + 1..];
        let tag = rest.iter().take_while(|byte| is_word(**byte) && **byte != b'$').count();
        let is_tag = !after_word && !rest.first().is_some_and(u8::is_ascii_digit);
        match rest.get(tag) {
            None if is_tag && !self.ended && tag < TAG_BYTES_MAX => Step::Wait,
            Some(b'$') if is_tag => {
                self.begin();
                let end = self.at + tag + 2;
                self.state = State::Dollar { delimiter: self.pending[self.at..end].to_vec() };
                Step::Next(end)
            }
            _ => {
                self.begin();
                Step::Next(self.at + 1)
            }
        }
    }

    /// In `'..'`. A doubled quote leaves the string and comes back, which cuts the same.
    fn string(&mut self, escapes: bool) -> Step {
        if !escapes {
            return self.until_quote(b'\'');
        }
        match (self.pending[self.at], self.peek()) {
            (b'\\', Some(_)) => Step::Next(self.at + 2),
            (b'\'', Some(b'\'')) => Step::Next(self.at + 2),
            (b'\\' | b'\'', None) if !self.ended => Step::Wait,
            (b'\'', _) => self.leave(self.at + 1),
            _ => Step::Next(self.at + 1),
        }
    }

    fn until_quote(&mut self, quote: u8) -> Step {
        match self.find(quote) {
            Some(end) => self.leave(end + 1),
            None => Step::Next(self.pending.len()),
        }
    }

    fn block_comment(&mut self, depth: u32) -> Step {
        match (self.pending[self.at], self.peek()) {
            (b'*' | b'/', None) if !self.ended => Step::Wait,
            (b'*', Some(b'/')) if depth == 1 => self.leave(self.at + 2),
            (b'*', Some(b'/')) => {
                self.state = State::BlockComment { depth: depth - 1 };
                Step::Next(self.at + 2)
            }
            (b'/', Some(b'*')) => {
                self.state = State::BlockComment { depth: depth.saturating_add(1) };
                Step::Next(self.at + 2)
            }
            _ => Step::Next(self.at + 1),
        }
    }

    /// In a dollar quote whose delimiter has `length` bytes.
    fn dollar(&mut self, length: usize) -> Step {
        let State::Dollar { delimiter } = &self.state else { return Step::Wait };
        let Some(dollar) = self.find(b'$') else { return Step::Next(self.pending.len()) };
        let rest = &self.pending[dollar..];
        if rest.starts_with(delimiter) {
            return self.leave(dollar + length);
        }
        if rest.len() < length && !self.ended && delimiter.starts_with(rest) {
            return if dollar > self.at { Step::Next(dollar) } else { Step::Wait };
        }
        Step::Next(dollar + 1)
    }
}

/// A tag longer than this is no tag (PostgreSQL's identifiers end at 63 bytes).
const TAG_BYTES_MAX: usize = 64;

/// Letters, digits, `_`, `$` and everything beyond ASCII make words.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests;
