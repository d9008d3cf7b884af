//! `find`: flags into a request, entries into paths.

use jiff::tz::TimeZone;
use record::Time;

use crate::api::EntryView;
use crate::cli::Find;
use crate::commands::source::by_spelling;
use crate::commands::{Answer, Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::{FindRequest, PathPair};
use crate::render::{Out, quoted, user_number};
use crate::values;

/// Prints what matches; ends with 1 when nothing does.
pub(crate) fn run(context: &Context, flags: &Find) -> Result<Outcome, Failure> {
    let mut request = request(flags, Time::now(), &TimeZone::system())?;
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    let mut any = false;
    by_spelling(flags.path.as_deref(), |path| {
        let pair = path.map(PathPair::new);
        (request.path, request.path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
        source.find(&request, &mut |answer| {
            any |= !matches!(answer, Answer::Pause);
            if context.global.json {
                answer.print(&mut out)?;
                return Ok(true);
            }
            let entry = match answer {
                Answer::Line(line) => EntryView::read(line)?,
                Answer::Value(entry) => EntryView::of(entry)?,
                Answer::Pause => {
                    out.flush()?;
                    return Ok(true);
                }
            };
            if flags.print0 {
                out.ended(&entry.path, 0)?;
            } else {
                out.line(quoted(&entry.path).as_bytes())?;
            }
            Ok(true)
        })
    })?;
    out.flush()?;
    Ok(Outcome::found(any))
}

/// The request of `flags`, but for the path.
fn request(flags: &Find, now: Time, zone: &TimeZone) -> Result<FindRequest, Failure> {
    let time = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => values::time_or_age(text, zone, now)
            .map(|time| Some(i64::try_from(time.0).unwrap_or(if time.0 < 0 { i64::MIN } else { i64::MAX })))
            .map_err(Failure::Usage),
    };
    let owner = flags.owner.as_deref().map(user_number).transpose().map_err(Failure::Usage)?;
    Ok(FindRequest {
        path: None,
        path_raw: None,
        name: flags.name.clone(),
        iname: flags.iname.clone(),
        kinds: (!flags.kinds.is_empty()).then(|| flags.kinds.join(",")),
        min_size: flags.size.map(|(least, _)| least),
        max_size: flags.size.map(|(_, most)| most),
        newer_ns: time(&flags.newer)?,
        older_ns: time(&flags.older)?,
        category: (!flags.categories.is_empty()).then(|| flags.categories.join(",")),
        owner,
        min_links: flags.links.map(|(least, _)| least),
        max_links: flags.links.map(|(_, most)| most),
        max_depth: flags.max_depth,
        limit: flags.limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_request() {
        let flags = Find {
            kinds: vec!["f".into(), "d".into()],
            size: Some((1, 2)),
            newer: Some("1d".into()),
            older: Some("1970-01-01".into()),
            owner: Some("root".into()),
            categories: vec!["photo".into(), "video".into()],
            ..Find::default()
        };
        let request = request(&flags, Time(86_400_000_000_001), &TimeZone::UTC).unwrap();
        assert_eq!(request.kinds.as_deref(), Some("f,d"));
        assert_eq!(request.category.as_deref(), Some("photo,video"));
        assert_eq!((request.min_size, request.max_size), (Some(1), Some(2)));
        assert_eq!((request.newer_ns, request.older_ns), (Some(1), Some(0)));
        assert_eq!(request.owner, Some(0));
    }
}
