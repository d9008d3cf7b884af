//! Killed at every step: each name has its whole content, and the next run sets right what is left.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use duplicates::{Kind, Linker, Log, Step, mend, undo};

use crate::support::{At, Ground, inode, quiet, set};

const STEPS: [Step; 8] =
    [Step::Log, Step::Link, Step::Exchange, Step::Exchanged, Step::Remove, Step::Make, Step::Made, Step::End];

/// Ends `work` at the `nth` time that it comes to `step`, as a kill does: nothing is tidied up. False if it never came there.
fn killed(step: Step, nth: u32, work: impl FnOnce(&At<'_>)) -> bool {
    struct Killed;
    let mut left = nth;
    let guard = At::new(step, move |_| {
        left -= 1;
        if left == 0 {
            resume_unwind(Box::new(Killed));
        }
    });
    match catch_unwind(AssertUnwindSafe(|| work(&guard))) {
        Ok(()) => false,
        Err(said) if said.is::<Killed>() => true,
        Err(said) => resume_unwind(said),
    }
}

struct Made {
    ground: Ground,
    one: PathBuf,
    /// Two names of one file, in two folders.
    other: [PathBuf; 2],
    content: Vec<u8>,
}

fn made() -> Made {
    let ground = Ground::new();
    let content = b"the same".repeat(10_000);
    let one = ground.file("one", &content, 9);
    let other = [ground.file("a/other", &content, 1), ground.path("b")];
    fs::hard_link(&other[0], &other[1]).unwrap();
    Made { ground, one, other, content }
}

impl Made {
    fn link(&self, guard: &At<'_>) {
        let [first, second] = &self.other;
        let all = set(&[&[&self.one], &[first, second]]);
        let mut linker = Linker::new(Kind::Hard, guard, Some(Log::create(&self.ground.log()).unwrap()));
        linker.set(&all, &mut |_| Ok(())).unwrap();
        linker.end().unwrap();
    }

    fn names(&self) -> [&Path; 3] {
        [&self.one, &self.other[0], &self.other[1]]
    }

    fn assert_whole(&self, when: &str) {
        for name in self.names() {
            assert!(fs::read(name).unwrap() == self.content, "{when}: {}", name.display());
        }
        for name in self.ground.beside() {
            let partial = name.to_string_lossy().contains("undo");
            assert!(partial || fs::read(&name).unwrap() == self.content, "{when}: {}", name.display());
        }
    }

    fn undo(&self, guard: &At<'_>) {
        undo(&self.ground.log(), guard, true, &mut |_| Ok(())).unwrap();
    }
}

#[test]
fn killed_while_linking_at_any_step() {
    let mut kills = 0;
    for step in STEPS {
        for nth in 1..10 {
            let made = made();
            let was = inode(&made.other[0]);
            if !killed(step, nth, |guard| made.link(guard)) {
                break;
            }
            kills += 1;
            let when = format!("{step:?} {nth}");
            made.assert_whole(&when);
            assert!(made.ground.beside().len() <= 1, "{when}");
            let mended = mend(&made.ground.log(), &quiet()).unwrap();
            assert!(mended.iter().all(|one| one.left.is_none()), "{when}: {mended:?}");
            assert!(made.ground.beside().is_empty(), "{when}");
            made.assert_whole(&when);
            assert!(mend(&made.ground.log(), &quiet()).unwrap().is_empty());
            // What was done can be undone: both names lead to one file again, apart from the kept one.
            made.undo(&quiet());
            made.assert_whole(&when);
            assert_ne!(inode(&made.one), inode(&made.other[0]), "{when}");
            assert_ne!(inode(&made.one), inode(&made.other[1]), "{when}");
            // If one name was left as it was, the file is in two pieces, each whole.
            let left = [&made.other[0], &made.other[1]].iter().any(|name| inode(name) == was);
            assert!(left || inode(&made.other[0]) == inode(&made.other[1]), "{when}");
            assert!(made.ground.beside().is_empty(), "{when}");
        }
    }
    assert!(kills >= 10, "{kills}");
}

#[test]
fn killed_while_undoing_at_any_step() {
    let mut kills = 0;
    for mended in [false, true] {
        for step in STEPS {
            for nth in 1..10 {
                let made = made();
                made.link(&quiet());
                if !killed(step, nth, |guard| made.undo(guard)) {
                    break;
                }
                kills += 1;
                let when = format!("{step:?} {nth} {mended}");
                made.assert_whole(&when);
                if mended {
                    let mended = mend(&made.ground.log(), &quiet()).unwrap();
                    assert!(mended.iter().all(|one| one.left.is_none()), "{when}: {mended:?}");
                    assert!(made.ground.beside().is_empty(), "{when}");
                    made.assert_whole(&when);
                }
                made.undo(&quiet());
                made.assert_whole(&when);
                assert!(made.ground.beside().is_empty(), "{when}");
                assert_ne!(inode(&made.one), inode(&made.other[0]), "{when}");
                assert_eq!(inode(&made.other[0]), inode(&made.other[1]), "{when}");
            }
        }
    }
    assert!(kills >= 16, "{kills}");
}

/// Between the kill and the next run the files are worked with: what stands nowhere else is never removed.
#[test]
fn what_was_written_after_a_kill_is_not_lost() {
    for step in [Step::Exchange, Step::Exchanged, Step::Remove] {
        // Through the link both names have the new content, and the old one stands beside alone.
        let made = made();
        assert!(killed(step, 1, |guard| made.link(guard)));
        fs::write(&made.one, b"new").unwrap();
        let mended = mend(&made.ground.log(), &quiet()).unwrap();
        let first = fs::read(&made.other[0]).unwrap();
        let beside = made.ground.beside();
        if step == Step::Exchange {
            assert!(beside.is_empty() && first == made.content, "{step:?}: {mended:?}");
        } else {
            assert_eq!(first, b"new");
            assert!(mended[0].left.is_some() && fs::read(&beside[0]).unwrap() == made.content, "{step:?}");
        }
        // The name was saved anew: that stays too.
        let made = self::made();
        assert!(killed(step, 1, |guard| made.link(guard)));
        fs::write(made.ground.path("saved"), b"saved").unwrap();
        fs::rename(made.ground.path("saved"), &made.other[0]).unwrap();
        mend(&made.ground.log(), &quiet()).unwrap();
        assert_eq!(fs::read(&made.other[0]).unwrap(), b"saved");
        assert!(
            fs::read(&made.other[1]).unwrap() == made.content && fs::read(&made.one).unwrap() == made.content
        );
    }
}
