//! What people write for sizes, ages and points in time. Knows no clock: callers bring `now`.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use record::Time;

const SECOND: i128 = 1_000_000_000;

/// Where a reader of the journal wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinceArg {
    /// After this seq.
    Seq(u64),
    /// At this time.
    Time(Time),
    /// This long before now.
    Age(Duration),
}

/// Bytes: `4096`, `10k`, `1.5M`, `2GiB`. Units are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "c" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(format!("unknown unit {unit:?} in {text:?}; sizes look like 4096, 10k, 1.5M, 2GiB")),
    };
    let bad = || format!("{text:?} is no size; sizes look like 4096, 10k, 1.5M, 2GiB");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(bad);
    }
    let number: f64 = number.parse().map_err(|_| bad())?;
    Ok((number * (1u64 << shift) as f64) as u64)
}

/// An address of this host that no other reaches: `127.0.0.1:9187`, `[::1]:9187`.
pub(crate) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("{text:?} is no address; write 127.0.0.1:9187 or [::1]:9187"))?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} can be reached by other hosts, and the port asks nobody who he is; write 127.0.0.1:{} \
             and put a proxy that does before it",
            address.port()
        ));
    }
    Ok(address)
}

/// How long: `30s`, `15m`, `2h`, `3d`, `1w`, or several in a row as `1h30m`.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no length of time; write 500ms, 30s, 15m, 2h, 3d, 1w or 1h30m");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let ms: u64 = match unit {
            "ms" => 1,
            "s" | "sec" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        total += Duration::from_millis(number.checked_mul(ms).ok_or_else(bad)?);
        rest = after.trim_start();
    }
    Ok(total)
}

/// How often something is done, as [`age`]; `off` for never. Not more often than ten times a second.
pub(crate) fn pause(text: &str) -> Result<Option<Duration>, String> {
    if text.trim() == "off" {
        return Ok(None);
    }
    let every = age(text).map_err(|why| format!("{why}, or off"))?;
    if every < Duration::from_millis(100) {
        return Err(format!("{text:?} is too often; 100ms is the least"));
    }
    Ok(Some(every))
}

/// A point in time: `2026-11-20`, `2026-11-20T10:00:00` in `zone`, or with `Z` or an offset; `@SECONDS` since 1970.
pub(crate) fn time(text: &str, zone: &TimeZone) -> Result<Time, String> {
    let bad = || {
        format!(
            "{text:?} is no time; write 2026-11-20, 2026-11-20T10:00:00, 2026-11-20T10:00:00Z or @1795168800"
        )
    };
    if let Some(seconds) = text.strip_prefix('@') {
        let seconds: i64 = seconds.parse().map_err(|_| bad())?;
        return Ok(Time(i128::from(seconds) * SECOND));
    }
    if let Ok(exact) = text.parse::<jiff::Timestamp>() {
        return Ok(Time(exact.as_nanosecond()));
    }
    let civil: DateTime = text.parse().map_err(|_| bad())?;
    let zoned = civil.to_zoned(zone.clone()).map_err(|_| bad())?;
    Ok(Time(zoned.timestamp().as_nanosecond()))
}

/// `1234` is a seq, `2h` an age, anything else a time.
pub(crate) fn since(text: &str, zone: &TimeZone) -> Result<SinceArg, String> {
    if let Ok(seq) = text.parse() {
        return Ok(SinceArg::Seq(seq));
    }
    if let Ok(age) = age(text) {
        return Ok(SinceArg::Age(age));
    }
    time(text, zone).map(SinceArg::Time).map_err(|_| {
        format!("{text:?} is no seq, age or time; write 1234, 2h, 2026-11-20 or 2026-11-20T10:00:00")
    })
}

/// An age before `now` or a time.
pub(crate) fn time_or_age(text: &str, zone: &TimeZone, now: Time) -> Result<Time, String> {
    if let Ok(age) = age(text) {
        return Ok(before(now, age));
    }
    time(text, zone)
        .map_err(|_| format!("{text:?} is no age or time; write 2h, 3d, 2026-11-20 or 2026-11-20T10:00:00"))
}

/// `age` before `now`.
pub(crate) fn before(now: Time, age: Duration) -> Time {
    now.minus_ns(i128::try_from(age.as_nanos()).unwrap_or(i128::MAX))
}

/// `+10M` is more than, `-4k` less than, `4096` exactly: as a closed range of bytes.
pub(crate) fn size_test(text: &str) -> Result<(u64, u64), String> {
    if let Some(more) = text.strip_prefix('+') {
        return Ok((size(more)?.saturating_add(1), u64::MAX));
    }
    if let Some(less) = text.strip_prefix('-') {
        let most = size(less)?.checked_sub(1).ok_or("nothing is smaller than 0 bytes".to_owned())?;
        return Ok((0, most));
    }
    size(text).map(|exact| (exact, exact))
}

/// `2+` or `+1` is at least two, `2` exactly two: as a closed range.
pub(crate) fn links_test(text: &str) -> Result<(u32, u32), String> {
    let number = |digits: &str| {
        digits
            .parse::<u32>()
            .map_err(|_| format!("{text:?} is no number of links; write 2, or 2+ for 2 and more"))
    };
    if let Some(least) = text.strip_suffix('+') {
        return Ok((number(least)?, u32::MAX));
    }
    if let Some(more) = text.strip_prefix('+') {
        return Ok((number(more)?.saturating_add(1), u32::MAX));
    }
    number(text).map(|exact| (exact, exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10k", 10 << 10),
            ("1.5M", 3 << 19),
            ("2GiB", 2 << 30),
            ("1T", 1 << 40),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "k", "-1", "1x", "1.2.3k", "99999999999P"] {
            size(bad).expect_err(bad);
        }
    }

    #[test]
    fn size_tests_are_ranges() {
        assert_eq!(size_test("+1k"), Ok((1025, u64::MAX)));
        assert_eq!(size_test("-1k"), Ok((0, 1023)));
        assert_eq!(size_test("5"), Ok((5, 5)));
        size_test("-0").expect_err("nothing is that small");
        assert_eq!(links_test("2+"), Ok((2, u32::MAX)));
        assert_eq!(links_test("+2"), Ok((3, u32::MAX)));
        assert_eq!(links_test("2"), Ok((2, 2)));
    }

    #[test]
    fn only_loopback_addresses_are_taken() {
        for good in ["127.0.0.1:9187", "127.8.0.1:0", "[::1]:9187"] {
            loopback(good).unwrap();
        }
        for bad in ["", "9187", "localhost:9187", "0.0.0.0:9187", "[::]:9187", "10.0.0.1:9187", "127.0.0.1"] {
            loopback(bad).expect_err(bad);
        }
    }

    #[test]
    fn ages_add_up() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("2h", 7200), ("3d", 259_200), ("1h30m", 5400)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(age("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "5", "h", "2 parsecs", "-1h"] {
            age(bad).expect_err(bad);
        }
    }

    #[test]
    fn times_are_local_unless_they_say_otherwise() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let noon = 1_795_176_000 * SECOND;
        assert_eq!(time("2026-11-20T12:00:00Z", &zone), Ok(Time(noon)));
        assert_eq!(time("2026-11-20T14:00:00", &zone), Ok(Time(noon)));
        assert_eq!(time("2026-11-20T13:00:00+01:00", &zone), Ok(Time(noon)));
        assert_eq!(time("2026-11-20", &zone), Ok(Time(noon - 14 * 3600 * SECOND)));
        assert_eq!(time("@1795176000", &zone), Ok(Time(noon)));
        time("yesterday", &zone).expect_err("no such word");
    }

    #[test]
    fn since_tells_its_three_forms_apart() {
        let utc = TimeZone::UTC;
        assert_eq!(since("1234", &utc), Ok(SinceArg::Seq(1234)));
        assert_eq!(since("2h", &utc), Ok(SinceArg::Age(Duration::from_secs(7200))));
        assert_eq!(since("1970-01-02", &utc), Ok(SinceArg::Time(Time(86_400 * SECOND))));
        since("soon", &utc).expect_err("no such word");
        assert_eq!(time_or_age("1d", &utc, Time(2 * 86_400 * SECOND)), Ok(Time(86_400 * SECOND)));
    }
}
