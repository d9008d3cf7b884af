//! The one way to stderr while a bar stands there: what is said goes above it. Knows one bar at most, and no log.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;

/// The bar that is on the terminal now.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a bar at the bottom of the terminal, or takes it from there.
pub(crate) fn stand(bar: Option<ProgressBar>) {
    *shown() = bar;
}

/// Does `talk` with no bar in its way, and draws the bar again.
fn above<T>(bar: Option<&ProgressBar>, talk: impl FnOnce() -> T) -> T {
    match bar {
        Some(bar) if !bar.is_finished() => bar.suspend(talk),
        _ => talk(),
    }
}

/// stderr, above the bar.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Talk;

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A whole event comes as one write, and must not be parted by the bar.
        above(shown().as_ref(), || io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::sync::Arc;

    /// A terminal that notes what is done to it.
    #[derive(Clone, Debug, Default)]
    struct Paper(Arc<Mutex<Vec<String>>>);

    impl Paper {
        fn note(&self, what: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(what.to_owned());
            Ok(())
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.note(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.note("clear")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_is_cleared_before_a_line_and_drawn_again_after_it() {
        let paper = Paper::default();
        let bar =
            ProgressBar::with_draw_target(Some(10), ProgressDrawTarget::term_like(Box::new(paper.clone())));
        bar.set_position(5);
        bar.tick();
        paper.0.lock().unwrap().clear();
        above(Some(&bar), || paper.note("a log line")).unwrap();
        let noted: Vec<String> =
            paper.0.lock().unwrap().iter().filter(|what| !what.trim().is_empty()).cloned().collect();
        let at = noted.iter().position(|what| what == "a log line").unwrap();
        assert!(noted[..at].iter().any(|what| what == "clear"), "{noted:?}");
        assert!(noted[at + 1..].iter().any(|what| what.contains("5/10")), "{noted:?}");

        bar.finish_and_clear();
        paper.0.lock().unwrap().clear();
        above(Some(&bar), || paper.note("another")).unwrap();
        assert_eq!(*paper.0.lock().unwrap(), ["another"], "a bar that is gone is left alone");
    }
}
