//! Dates, times of day and timestamps: ISO 8601 and the other orders that PostgreSQL reads with
//! `DateStyle` ISO, MDY.

use model::error::{SqlError, SqlState};
pub use model::moment::DAY_MICROS;
use model::moment::TimeTz;
use model::moment::{
    DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, date_of_days,
    timestamp_of_micros,
};
use model::text::{civil_from_days, days_from_civil};

const HOUR_MICROS: i64 = 3_600_000_000;

/// What a text says: each part may be absent.
#[derive(Default)]
struct Moment {
    days: Option<i64>,
    micros: Option<i64>,
    zone_micros: Option<i64>,
}

enum Problem {
    Syntax,
    Range,
    /// A zone that is too far from UTC.
    Zone,
}

/// A date in days since 2000-01-01. Errors 22007, 22008.
pub fn parse_date(text: &str, now_micros: i64) -> Result<i32, SqlError> {
    match infinity(text) {
        Some(true) => return Ok(DATE_INFINITY),
        Some(false) => return Ok(DATE_MINUS_INFINITY),
        None => {}
    }
    let moment = read(text, now_micros).map_err(|p| refuse(p, "date", text))?;
    let days = moment.days.ok_or_else(|| refuse(Problem::Syntax, "date", text))?;
    date_of_days(days).ok_or_else(|| out_of_range("date", text))
}

/// A time of day in microseconds. Errors 22007, 22008.
pub fn parse_time(text: &str, now_micros: i64) -> Result<i64, SqlError> {
    const NAME: &str = "time without time zone";
    let moment = read(text, now_micros).map_err(|p| refuse(p, NAME, text))?;
    moment.micros.ok_or_else(|| refuse(Problem::Syntax, NAME, text))
}

/// A time of day with its zone, UTC where it names none. Errors 22007, 22008, 22009.
pub fn parse_time_tz(text: &str, now_micros: i64) -> Result<TimeTz, SqlError> {
    const NAME: &str = "time with time zone";
    let moment = read(text, now_micros).map_err(|p| refuse(p, NAME, text))?;
    let micros = moment.micros.ok_or_else(|| refuse(Problem::Syntax, NAME, text))?;
    // Zones are bounded where they are read.
    let east = (moment.zone_micros.unwrap_or(0) / 1_000_000) as i32;
    Ok(TimeTz { micros, zone: -east })
}

/// A timestamp in microseconds since 2000-01-01 00:00. A zone moves it to UTC where it is `zoned`
/// and is ignored otherwise, as in PostgreSQL. Errors 22007, 22008.
pub fn parse_timestamp(text: &str, zoned: bool, now_micros: i64) -> Result<i64, SqlError> {
    let name = if zoned { "timestamp with time zone" } else { "timestamp" };
    match infinity(text) {
        Some(true) => return Ok(TIMESTAMP_INFINITY),
        Some(false) => return Ok(TIMESTAMP_MINUS_INFINITY),
        None => {}
    }
    let moment = read(text, now_micros).map_err(|p| refuse(p, name, text))?;
    let days = moment.days.ok_or_else(|| refuse(Problem::Syntax, name, text))?;
    let zone = if zoned { moment.zone_micros.unwrap_or(0) } else { 0 };
    days.checked_mul(DAY_MICROS)
        .and_then(|micros| micros.checked_add(moment.micros.unwrap_or(0)))
        .and_then(|micros| micros.checked_sub(zone))
        .and_then(timestamp_of_micros)
        .ok_or_else(|| out_of_range("timestamp", text))
}

/// Whether a text is infinity, and then whether the later one.
fn infinity(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

fn refuse(problem: Problem, name: &str, text: &str) -> SqlError {
    match problem {
        Problem::Syntax => SqlError::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {name}: \"{text}\""),
        ),
        Problem::Range => SqlError::new(
            SqlState::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range: \"{text}\""),
        ),
        Problem::Zone => SqlError::new(
            SqlState::INVALID_TIME_ZONE_DISPLACEMENT,
            format!("time zone displacement out of range: \"{text}\""),
        ),
    }
}

fn out_of_range(name: &str, text: &str) -> SqlError {
    SqlError::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{name} out of range: \"{text}\""))
}

fn read(text: &str, now_micros: i64) -> Result<Moment, Problem> {
    let lower = text.to_ascii_lowercase();
    if let Some(moment) = special(&lower, now_micros) {
        return Ok(moment);
    }
    let mut reader =
        Reader { fields: Vec::new(), month: None, moment: Moment::default(), bc: false, pm: None };
    for word in words(&lower) {
        reader.word(&word)?;
    }
    reader.finish()
}

fn special(lower: &str, now_micros: i64) -> Option<Moment> {
    let today = now_micros.div_euclid(DAY_MICROS);
    let midnight = |days| Some(Moment { days: Some(days), micros: Some(0), zone_micros: None });
    match lower {
        "epoch" => midnight(-model::text::POSTGRES_EPOCH_DAYS),
        "today" => midnight(today),
        "tomorrow" => midnight(today + 1),
        "yesterday" => midnight(today - 1),
        "now" => Some(Moment {
            days: Some(today),
            micros: Some(now_micros.rem_euclid(DAY_MICROS)),
            zone_micros: None,
        }),
        "allballs" => Some(Moment { days: None, micros: Some(0), zone_micros: None }),
        _ => None,
    }
}

/// Splits at blanks, commas and the `t` between date and time; a zone leaves its time.
fn words(lower: &str) -> Vec<String> {
    let mut words = Vec::new();
    for piece in lower.split([' ', ',', '\t', '\n']).filter(|piece| !piece.is_empty()) {
        match piece.split_once('t') {
            Some((date, time))
                if date.starts_with(|c: char| c.is_ascii_digit())
                    && time.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                words.push(date.to_owned());
                words.push(time.to_owned());
            }
            _ => words.push(piece.to_owned()),
        }
    }
    words
}

struct Reader {
    /// Numbers of the date in order, with how many digits each had.
    fields: Vec<(i64, usize)>,
    month: Option<u32>,
    moment: Moment,
    bc: bool,
    pm: Option<bool>,
}

impl Reader {
    fn word(&mut self, word: &str) -> Result<(), Problem> {
        match word {
            "ad" => return Ok(()),
            "bc" => {
                self.bc = true;
                return Ok(());
            }
            "am" | "pm" => {
                self.pm = Some(word == "pm");
                return Ok(());
            }
            "z" | "utc" | "gmt" | "zulu" => {
                self.moment.zone_micros = Some(0);
                return Ok(());
            }
            _ => {}
        }
        if word.contains(':') && !word.starts_with(['+', '-']) {
            return self.time(word);
        }
        if word.starts_with(['+', '-']) && (self.moment.micros.is_some() || self.fields.len() >= 3)
        {
            self.moment.zone_micros = Some(zone(word)?);
            return Ok(());
        }
        if let Some(month) = month_of(word) {
            self.month = Some(month);
            return Ok(());
        }
        if is_weekday(word) {
            return Ok(());
        }
        self.date(word)
    }

    fn time(&mut self, word: &str) -> Result<(), Problem> {
        if self.moment.micros.is_some() {
            return Err(Problem::Syntax);
        }
        let (clock, rest) = match word.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        {
            Some(at) => word.split_at(at),
            None => (word, ""),
        };
        match rest {
            "" => {}
            "z" | "utc" | "gmt" => self.moment.zone_micros = Some(0),
            "am" | "pm" => self.pm = Some(rest == "pm"),
            offset => self.moment.zone_micros = Some(zone(offset)?),
        }
        self.moment.micros = Some(clock_micros(clock)?);
        Ok(())
    }

    fn date(&mut self, word: &str) -> Result<(), Problem> {
        let pieces: Vec<&str> = word.split(['-', '/', '.']).filter(|p| !p.is_empty()).collect();
        if let [digits] = pieces.as_slice()
            && self.fields.is_empty()
            && self.month.is_none()
            && digits.len() >= 8
            && digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            let (rest, day) = digits.split_at(digits.len() - 2);
            let (year, month) = rest.split_at(rest.len() - 2);
            for part in [year, month, day] {
                self.fields.push((number(part)?, part.len().max(3)));
            }
            return Ok(());
        }
        for piece in pieces {
            match month_of(piece) {
                Some(month) => self.month = Some(month),
                None => self.fields.push((number(piece)?, piece.len())),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Moment, Problem> {
        if let Some(pm) = self.pm {
            let micros = self.moment.micros.ok_or(Problem::Syntax)?;
            let hour = micros / HOUR_MICROS;
            if !(1..=12).contains(&hour) {
                return Err(Problem::Range);
            }
            let shift = if pm {
                if hour == 12 { 0 } else { 12 }
            } else if hour == 12 {
                -12
            } else {
                0
            };
            self.moment.micros = Some(micros + shift * HOUR_MICROS);
        }
        let (year, month, day) = match (self.month, self.fields.as_slice()) {
            (None, []) if self.moment.micros.is_some() => return Ok(self.moment),
            (None, [year, month, day]) if year.1 > 2 => (*year, month.0, day.0),
            (None, [month, day, year]) => (*year, month.0, day.0),
            (Some(month), [year, day]) if year.1 > 2 => (*year, i64::from(month), day.0),
            (Some(month), [day, year]) => (*year, i64::from(month), day.0),
            _ => return Err(Problem::Syntax),
        };
        self.moment.days = Some(civil_days(year, month, day, self.bc)?);
        Ok(self.moment)
    }
}

fn civil_days(year: (i64, usize), month: i64, day: i64, bc: bool) -> Result<i64, Problem> {
    let year = match year {
        (0, _) => return Err(Problem::Range),
        (short, digits) if digits <= 2 && !bc => short + if short < 70 { 2000 } else { 1900 },
        (year, _) => year,
    };
    let year = if bc { 1 - year } else { year };
    let month = u32::try_from(month).ok().filter(|m| (1..=12).contains(m)).ok_or(Problem::Range)?;
    let day = u32::try_from(day).ok().filter(|d| (1..=31).contains(d)).ok_or(Problem::Range)?;
    if year.abs() > 6_000_000 {
        return Err(Problem::Range);
    }
    let days = days_from_civil(year, month, day);
    // The 30th of February would come back as a day of March.
    if civil_from_days(days) != (year, month, day) {
        return Err(Problem::Range);
    }
    Ok(days)
}

fn number(text: &str) -> Result<i64, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    text.parse().map_err(|_| Problem::Range)
}

/// `hh:mm[:ss[.ffffff]]`, up to 24:00:00.
fn clock_micros(clock: &str) -> Result<i64, Problem> {
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next().unwrap_or(""))?, number(parts.next().unwrap_or(""))?);
    let seconds = parts.next().map_or(Ok(0), second_micros)?;
    if parts.next().is_some() {
        return Err(Problem::Syntax);
    }
    if hour > 24 || minute > 59 || seconds > 60_000_000 {
        return Err(Problem::Range);
    }
    let micros = hour * HOUR_MICROS + minute * 60_000_000 + seconds;
    if micros > DAY_MICROS { Err(Problem::Range) } else { Ok(micros) }
}

/// Seconds with a fraction, rounded to microseconds.
fn second_micros(text: &str) -> Result<i64, Problem> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    let mut micros = 0;
    for at in 0..6 {
        micros = micros * 10 + fraction.as_bytes().get(at).map_or(0, |d| i64::from(d - b'0'));
    }
    let round_up = fraction.as_bytes().get(6).is_some_and(|digit| *digit >= b'5');
    let whole = number(whole)?.checked_mul(1_000_000).ok_or(Problem::Range)?;
    Ok(whole + micros + i64::from(round_up))
}

/// `+hh`, `+hhmm`, `+hh:mm[:ss]` in microseconds east of UTC.
fn zone(text: &str) -> Result<i64, Problem> {
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(Problem::Syntax),
    };
    let mut parts: Vec<i64> = Vec::new();
    if !digits.contains(':') && digits.len() == 4 {
        for part in [digits.get(..2), digits.get(2..)] {
            parts.push(number(part.ok_or(Problem::Syntax)?)?);
        }
    } else {
        for part in digits.split(':') {
            parts.push(number(part)?);
        }
    }
    let at = |index: usize| parts.get(index).copied().unwrap_or(0);
    if parts.len() > 3 || at(0) > 15 || at(1) > 59 || at(2) > 59 {
        return Err(Problem::Zone);
    }
    Ok(sign * (at(0) * HOUR_MICROS + at(1) * 60_000_000 + at(2) * 1_000_000))
}

fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = if word == "sept" { "sep" } else { word };
    let at = MONTHS
        .iter()
        .position(|name| *name == word || (word.len() == 3 && name.starts_with(word)))?;
    Some(at as u32 + 1)
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.iter().any(|name| *name == word || (word.len() == 3 && name.starts_with(word)))
}
