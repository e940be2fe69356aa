//! `AS OF SYSTEM TIME`: a query of what was there at a time that has passed.

use model::error::{SqlError, SqlState};
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use shards::exec::input;

/// Microseconds from 1970 to 2000, where SQL's timestamps count from.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

/// A time as it is written: a timestamp, an interval back from now, or nanoseconds since 1970, which
/// is how versions of rows are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf(pub(super) String);

impl AsOf {
    /// The time that it means `now`.
    ///
    /// # Errors
    /// 22023 for what is no time, or one that is still to come.
    pub fn time(&self, now: Timestamp) -> Result<Timestamp, SqlError> {
        let at = self.meant(now)?;
        match at > now {
            true => Err(self.invalid("cannot specify a timestamp in the future")),
            false => Ok(at),
        }
    }

    fn meant(&self, now: Timestamp) -> Result<Timestamp, SqlError> {
        let text = self.0.trim();
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return text.parse().map(Timestamp).map_err(|_large| self.is_none());
        }
        let now_micros = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX) - EPOCH_2000_MICROS;
        let read = |data_type| input::parse(text, data_type, now_micros);
        if text.starts_with('-') {
            let Ok(Value::Interval(back)) = read(DataType::Interval) else {
                return Err(self.is_none());
            };
            let nanos = i128::from(now.0) + back.comparable_micros() * 1_000;
            return u64::try_from(nanos).map(Timestamp).map_err(|_before| self.is_none());
        }
        let Ok(Value::Timestamp(micros)) = read(DataType::TimestampTz) else {
            return Err(self.is_none());
        };
        let nanos = (i128::from(micros) + i128::from(EPOCH_2000_MICROS)) * 1_000;
        u64::try_from(nanos).map(Timestamp).map_err(|_before| self.is_none())
    }

    fn is_none(&self) -> SqlError {
        self.invalid("value is neither timestamp, decimal, nor interval")
    }

    fn invalid(&self, why: &str) -> SqlError {
        let message = format!("AS OF SYSTEM TIME: {why}");
        SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .detail(format!("It is \"{}\".", self.0))
            .hint("Write '-10s', '2026-01-31 12:00:00+00', or nanoseconds since 1970.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31 12:00:00 UTC
    const NOW: Timestamp = Timestamp(1_769_860_800_000_000_000);

    fn time(text: &str) -> Result<u64, SqlState> {
        AsOf(text.to_owned()).time(NOW).map(|at| at.0).map_err(|error| error.state())
    }

    #[test]
    fn times_are_read_in_all_their_forms() {
        assert_eq!(time("-10s"), Ok(NOW.0 - 10_000_000_000));
        assert_eq!(time("-1 day"), Ok(NOW.0 - 86_400_000_000_000));
        assert_eq!(time("1769860799000000000"), Ok(NOW.0 - 1_000_000_000));
        assert_eq!(time("2026-01-31 11:59:59.5+00"), Ok(NOW.0 - 500_000_000));
        assert_eq!(time("2026-01-31 12:59:59+01"), Ok(NOW.0 - 1_000_000_000));
        assert_eq!(time("now"), Ok(NOW.0));
    }

    #[test]
    fn what_is_no_time_that_has_passed_is_refused() {
        for text in
            ["", "soon", "10s", "-soon", "2026-02-01", "1769860800000000001", "-10000 years"]
        {
            assert_eq!(time(text), Err(SqlState::INVALID_PARAMETER_VALUE), "{text}");
        }
    }
}
