//! Numbers and times for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use record::Kind;

/// Bytes with three digits and a unit of 1024: `0 B`, `999 B`, `1.5 KiB`, `23.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // What would round to 1024 belongs to the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// As [`bytes`], with a sign: `+1.5 KiB`, `-3 B`, `0 B`.
pub(crate) fn signed_bytes(number: i64) -> String {
    let sign = match number {
        ..0 => "-",
        0 => "",
        _ => "+",
    };
    format!("{sign}{}", bytes(number.unsigned_abs()))
}

/// A number in groups of three: `1,051,237`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in `zone` to the second; what a calendar does not reach as seconds since 1970.
pub(crate) fn local_time(ns: i128, zone: &TimeZone) -> String {
    match Timestamp::from_nanosecond(ns) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("@{}", ns.div_euclid(1_000_000_000)),
    }
}

/// How long ago `then` is: `just now`, `12 s ago`, `3 h ago`.
pub(crate) fn ago(then_ns: i128, now_ns: i128) -> String {
    let seconds = (now_ns - then_ns) / 1_000_000_000;
    match seconds {
        ..=0 => "just now".to_owned(),
        1..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Kind and permissions as ls(1) writes them: `drwxr-xr-x`.
pub(crate) fn mode_text(kind: Kind, mode: u16) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::Block => 'b',
        Kind::Char => 'c',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_honest() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!([0, 999, 1000, 1_051_237].map(count), ["0", "999", "1,000", "1,051,237"]);
    }

    #[test]
    fn times_reach_as_far_as_file_systems() {
        let utc = TimeZone::UTC;
        assert_eq!(local_time(0, &utc), "1970-01-01 00:00:00");
        assert_eq!(local_time(-1, &utc), "1969-12-31 23:59:59");
        assert_eq!(local_time(15_032_385_535_000_000_000, &utc), "2446-05-10 22:38:55");
        assert_eq!(local_time(i128::from(i64::MAX) * 1_000_000_000, &utc), "@9223372036854775807");
        assert_eq!(ago(0, 90_000_000_000), "90 s ago");
        assert_eq!(ago(0, 7_200_000_000_000), "2 h ago");
    }

    #[test]
    fn modes_read_as_in_ls() {
        for (kind, mode, text) in [
            (Kind::File, 0o644, "-rw-r--r--"),
            (Kind::Directory, 0o1777, "drwxrwxrwt"),
            (Kind::File, 0o4711, "-rws--x--x"),
            (Kind::File, 0o2644, "-rw-r-Sr--"),
        ] {
            assert_eq!(mode_text(kind, mode), text);
        }
    }
}
