//! Types of times that have a modifier: fewer digits behind the second, or of intervals fewer
//! fields.

use super::DataType;
use crate::archive::verify::check;
use rkyv::bytecheck::Verify;
use rkyv::rancor::{Fallible, Source};
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// Most digits behind the second.
pub const SECOND_DIGITS_MAX: u8 = 6;

/// The types that can have such a modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum TimeType {
    /// `time without time zone`
    Time,
    /// `time with time zone`
    TimeTz,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `interval`
    Interval,
}

impl TimeType {
    /// All of them.
    pub const ALL: [TimeType; 5] = [
        TimeType::Time,
        TimeType::TimeTz,
        TimeType::Timestamp,
        TimeType::TimestampTz,
        TimeType::Interval,
    ];

    /// The type without a modifier.
    pub fn data_type(self) -> DataType {
        match self {
            TimeType::Time => DataType::Time,
            TimeType::TimeTz => DataType::TimeTz,
            TimeType::Timestamp => DataType::Timestamp,
            TimeType::TimestampTz => DataType::TimestampTz,
            TimeType::Interval => DataType::Interval,
        }
    }

    /// Which of them a type is, with a modifier or without.
    pub fn of(data_type: DataType) -> Option<TimeType> {
        TimeType::ALL.into_iter().find(|listed| listed.data_type() == data_type.base())
    }
}

/// The fields of an `interval` that are kept, and those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum IntervalFields {
    /// No field is left out.
    All,
    /// `year`
    Year,
    /// `month`
    Month,
    /// `day`
    Day,
    /// `hour`
    Hour,
    /// `minute`
    Minute,
    /// `second`
    Second,
    /// `year to month`
    YearToMonth,
    /// `day to hour`
    DayToHour,
    /// `day to minute`
    DayToMinute,
    /// `day to second`
    DayToSecond,
    /// `hour to minute`
    HourToMinute,
    /// `hour to second`
    HourToSecond,
    /// `minute to second`
    MinuteToSecond,
}

impl IntervalFields {
    /// Each with its name and its bits in PostgreSQL's modifier.
    const TABLE: [(IntervalFields, &'static str, i32); 14] = [
        (IntervalFields::All, "", 0x7fff),
        (IntervalFields::Year, " year", YEAR),
        (IntervalFields::Month, " month", MONTH),
        (IntervalFields::Day, " day", DAY),
        (IntervalFields::Hour, " hour", HOUR),
        (IntervalFields::Minute, " minute", MINUTE),
        (IntervalFields::Second, " second", SECOND),
        (IntervalFields::YearToMonth, " year to month", YEAR | MONTH),
        (IntervalFields::DayToHour, " day to hour", DAY | HOUR),
        (IntervalFields::DayToMinute, " day to minute", DAY | HOUR | MINUTE),
        (IntervalFields::DayToSecond, " day to second", DAY | HOUR | MINUTE | SECOND),
        (IntervalFields::HourToMinute, " hour to minute", HOUR | MINUTE),
        (IntervalFields::HourToSecond, " hour to second", HOUR | MINUTE | SECOND),
        (IntervalFields::MinuteToSecond, " minute to second", MINUTE | SECOND),
    ];

    /// The name behind `interval`, with a blank before it; empty where no field is left out.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Whether seconds are kept, which alone have digits to be limited.
    pub fn have_seconds(self) -> bool {
        self.row().2 & SECOND != 0
    }

    fn row(self) -> (IntervalFields, &'static str, i32) {
        let row = Self::TABLE.into_iter().find(|(fields, ..)| *fields == self);
        row.expect("all fields are listed, which a test holds")
    }
}

// The bits of fields in the modifier of an interval.
const MONTH: i32 = 1 << 1;
const YEAR: i32 = 1 << 2;
const DAY: i32 = 1 << 3;
const HOUR: i32 = 1 << 10;
const MINUTE: i32 = 1 << 11;
const SECOND: i32 = 1 << 12;

/// In the modifier of an interval: as many digits as there are.
const ALL_DIGITS: i32 = 0xffff;

/// A type of times with its modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[rkyv(bytecheck(verify))]
pub struct TimeLimits {
    of: TimeType,
    digits: Option<u8>,
    fields: IntervalFields,
}

// SAFETY: returns an error unless the limits are some that `digits` and `fields` make.
unsafe impl<C> Verify<C> for ArchivedTimeLimits
where
    C: Fallible + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        let limited = self.digits.is_some() || !matches!(self.fields, ArchivedIntervalFields::All);
        let fields = matches!(self.of, ArchivedTimeType::Interval)
            || matches!(self.fields, ArchivedIntervalFields::All);
        let digits = self.digits.as_ref().is_none_or(|digits| *digits <= SECOND_DIGITS_MAX);
        check(limited && fields && digits, "the limits of a type of times")
    }
}

impl TimeLimits {
    /// A type of at most six digits behind the second.
    ///
    /// # Panics
    /// On more.
    pub fn digits(of: TimeType, digits: u8) -> TimeLimits {
        assert!(digits <= SECOND_DIGITS_MAX, "{digits} digits behind the second");
        TimeLimits { of, digits: Some(digits), fields: IntervalFields::All }
    }

    /// Intervals of some fields, and of at most so many digits.
    ///
    /// # Panics
    /// On more than six digits, and where nothing is limited.
    pub fn fields(fields: IntervalFields, digits: Option<u8>) -> TimeLimits {
        assert!(digits.is_none_or(|digits| digits <= SECOND_DIGITS_MAX), "too many digits");
        assert!(digits.is_some() || fields != IntervalFields::All, "an interval without limits");
        TimeLimits { of: TimeType::Interval, digits, fields }
    }

    /// Which type it is.
    pub fn time_type(self) -> TimeType {
        self.of
    }

    /// The type without the modifier.
    pub fn data_type(self) -> DataType {
        self.of.data_type()
    }

    /// How many digits behind the second there are.
    pub fn second_digits(self) -> u8 {
        self.digits.unwrap_or(SECOND_DIGITS_MAX)
    }

    /// Which fields of an interval there are.
    pub fn interval_fields(self) -> IntervalFields {
        self.fields
    }

    /// Whether every value of the other type is one of this, in the same form.
    pub fn hold(self, other: DataType) -> bool {
        let (digits, fields) = match other {
            DataType::Limited(other) if other.of == self.of => {
                (other.second_digits(), other.fields)
            }
            other if other == self.data_type() => (SECOND_DIGITS_MAX, IntervalFields::All),
            _ => return false,
        };
        digits <= self.second_digits()
            && (self.fields == fields || self.fields == IntervalFields::All)
    }

    /// The modifier as PostgreSQL writes it (`atttypmod`).
    pub fn modifier(self) -> i32 {
        match (self.of, self.digits) {
            (TimeType::Interval, digits) => {
                self.fields.row().2 << 16 | digits.map_or(ALL_DIGITS, i32::from)
            }
            (_, digits) => digits.map_or(-1, i32::from),
        }
    }

    /// The type with this modifier; `None` where it is none of the type's.
    pub fn from_modifier(of: TimeType, modifier: i32) -> Option<TimeLimits> {
        let (fields, digits) = match of {
            TimeType::Interval => {
                let bits = modifier >> 16;
                let row = IntervalFields::TABLE.into_iter().find(|(.., listed)| *listed == bits);
                (row?.0, modifier & ALL_DIGITS)
            }
            _ => (IntervalFields::All, modifier),
        };
        let digits = match digits {
            ALL_DIGITS if of == TimeType::Interval => None,
            digits => Some(u8::try_from(digits).ok().filter(|d| *d <= SECOND_DIGITS_MAX)?),
        };
        let limited = digits.is_some() || fields != IntervalFields::All;
        limited.then_some(TimeLimits { of, digits, fields })
    }
}

/// As `format_type` prints it.
impl fmt::Display for TimeLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, zone) = match self.of {
            TimeType::Time => ("time", " without time zone"),
            TimeType::TimeTz => ("time", " with time zone"),
            TimeType::Timestamp => ("timestamp", " without time zone"),
            TimeType::TimestampTz => ("timestamp", " with time zone"),
            TimeType::Interval => ("interval", ""),
        };
        write!(f, "{name}{}", self.fields.name())?;
        if let Some(digits) = self.digits {
            write!(f, "({digits})")?;
        }
        f.write_str(zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IntervalFields as F;

    #[test]
    fn names_and_modifiers_are_postgresqls() {
        for (limits, name, modifier) in [
            (TimeLimits::digits(TimeType::Timestamp, 3), "timestamp(3) without time zone", 3),
            (TimeLimits::digits(TimeType::TimestampTz, 0), "timestamp(0) with time zone", 0),
            (TimeLimits::digits(TimeType::Time, 6), "time(6) without time zone", 6),
            (TimeLimits::digits(TimeType::TimeTz, 1), "time(1) with time zone", 1),
            (TimeLimits::digits(TimeType::Interval, 2), "interval(2)", 0x7fff_0002),
            (TimeLimits::fields(F::Year, None), "interval year", 0x0004_ffff),
            (TimeLimits::fields(F::DayToSecond, Some(3)), "interval day to second(3)", 0x1c08_0003),
        ] {
            assert_eq!(limits.to_string(), name);
            assert_eq!(limits.modifier(), modifier, "{name}");
        }
    }

    #[test]
    fn modifiers_lead_back() {
        for (fields, ..) in F::TABLE {
            for digits in [None, Some(0), Some(6)] {
                if digits.is_some() || fields != F::All {
                    let limits = TimeLimits::fields(fields, digits);
                    let read = TimeLimits::from_modifier(TimeType::Interval, limits.modifier());
                    assert_eq!(read, Some(limits));
                }
            }
        }
        for of in TimeType::ALL {
            for modifier in [-1, 7, 0x7fff_ffff, 0x0001_0000] {
                assert_eq!(TimeLimits::from_modifier(of, modifier), None, "{of:?} {modifier}");
            }
        }
    }

    #[test]
    fn longer_types_hold_shorter_ones() {
        let digits = |digits| TimeLimits::digits(TimeType::Timestamp, digits);
        assert!(digits(3).hold(DataType::Limited(digits(2))));
        assert!(!digits(2).hold(DataType::Limited(digits(3))));
        assert!(digits(6).hold(DataType::Timestamp) && !digits(5).hold(DataType::Timestamp));
        assert!(!digits(6).hold(DataType::TimestampTz));
        let days = TimeLimits::fields(F::Day, None);
        assert!(days.hold(DataType::Limited(days)) && !days.hold(DataType::Interval));
        assert!(TimeLimits::digits(TimeType::Interval, 6).hold(DataType::Limited(days)));
    }
}
