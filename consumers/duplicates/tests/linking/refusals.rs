//! What is linked, and what is refused with its reason.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use duplicates::{Kind, Step, What, Why, mend};

use crate::support::{At, Ground, inode, quiet, run, set, why};

#[test]
fn the_oldest_is_kept_and_the_others_become_its_names() {
    let ground = Ground::new();
    let [new, old, middle] =
        [("new", 1), ("old", 9), ("b/middle", 5)].map(|(name, age)| ground.file(name, b"same", age));
    let kept = old.symlink_metadata().unwrap();
    let all = set(&[&[&new], &[&old], &[&middle]]);

    // Without a log nothing is touched.
    let said = run(Kind::Hard, &all, &quiet(), None);
    assert!(said.iter().all(|report| matches!(report.what, What::Would)) && said.len() == 2, "{said:?}");
    assert!(said.iter().all(|report| report.bytes == 4096), "{said:?}");
    assert_ne!(inode(&new), inode(&old));

    let said = ground.link(&all, &quiet());
    assert!(said.iter().all(|report| matches!(report.what, What::Done)) && said.len() == 2, "{said:?}");
    assert_eq!((inode(&new), inode(&middle)), (inode(&old), inode(&old)));
    assert_eq!(old.symlink_metadata().unwrap().modified().unwrap(), kept.modified().unwrap());
    assert!(ground.beside().is_empty());
    // Once more there is nothing to do.
    let said = ground.link(&all, &quiet());
    assert!(said.iter().all(|report| matches!(report.what, What::Already)), "{said:?}");
}

#[test]
fn a_difference_in_the_last_byte_is_refused() {
    let ground = Ground::new();
    let mut content = vec![7; (2 << 20) + 5];
    let one = ground.file("one", &content, 2);
    *content.last_mut().unwrap() = 8;
    let other = ground.file("other", &content, 1);
    let said = ground.link(&set(&[&[&one], &[&other]]), &quiet());
    assert!(matches!(why(&said[0]), Why::Differs), "{said:?}");
    assert_eq!(fs::read(&other).unwrap(), content);
    assert_ne!(inode(&one), inode(&other));
}

#[test]
fn what_changed_since_it_was_grouped_is_refused() {
    let ground = Ground::new();
    let one = ground.file("one", b"same", 2);
    let other = ground.file("other", b"same", 1);
    let folder = ground.file("d/inner", b"same", 1);
    let mut all = set(&[&[&one], &[&other], &[&folder]]);
    fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    symlink(ground.path(""), folder.parent().unwrap()).unwrap();
    fs::write(&other, b"longer").unwrap();
    let said = ground.link(&all, &quiet());
    assert!(said.iter().any(|report| matches!(why(report), Why::Size { now: 6, then: 4 })), "{said:?}");
    assert!(said.iter().any(|report| matches!(why(report), Why::Path)), "{said:?}");
    fs::remove_file(&other).unwrap();
    symlink(&one, &other).unwrap();
    all.copies.truncate(2);
    assert!(matches!(why(&ground.link(&all, &quiet())[0]), Why::NoFile));
    fs::remove_file(&other).unwrap();
    assert!(matches!(why(&ground.link(&all, &quiet())[0]), Why::Gone));
}

/// Somebody saves a file under the copy's name at each step between the comparison and the end: his stays.
#[test]
fn what_is_swapped_in_at_any_moment_stays() {
    for step in [Step::Log, Step::Link, Step::Exchange, Step::Exchanged] {
        let ground = Ground::new();
        let one = ground.file("one", b"same", 2);
        let other = ground.file("other", b"same", 1);
        let theirs = ground.file("theirs", b"mine", 0);
        let number = inode(&theirs);
        let guard = At::new(step, |_| fs::rename(&theirs, &other).unwrap());
        let said = ground.link(&set(&[&[&one], &[&other]]), &guard);
        // After the exchange their file took the link's place, which is theirs to take.
        let expected = matches!(said[0].what, What::Done) == (step == Step::Exchanged);
        assert!(expected, "{step:?}: {said:?}");
        assert_eq!((inode(&other), fs::read(&other).unwrap()), (number, b"mine".to_vec()), "{step:?}");
        assert_eq!(fs::read(&one).unwrap(), b"same");
        assert!(ground.beside().is_empty(), "{step:?}");
    }
}

/// A writer that comes while all is on its way gets the file that it opened back under its name.
#[test]
fn who_wants_to_write_meanwhile_ends_the_action() {
    for step in [Step::Log, Step::Link, Step::Exchange, Step::Exchanged] {
        let ground = Ground::new();
        let one = ground.file("one", b"same", 2);
        let other = ground.file("other", b"same", 1);
        let number = inode(&other);
        let guard = At::new(step, |held| held.set(false));
        let said = ground.link(&set(&[&[&one], &[&other]]), &guard);
        assert!(matches!(why(&said[0]), Why::Kept(_) | Why::Writer), "{step:?}: {said:?}");
        assert_eq!(inode(&other), number, "{step:?}");
        assert!(ground.beside().is_empty(), "{step:?}");
    }
    for (hold, expected) in [(Some(false), "open for writing"), (None, "cannot be known")] {
        let ground = Ground::new();
        let (one, other) = (ground.file("one", b"same", 2), ground.file("other", b"same", 1));
        let guard = At { hold, ..quiet() };
        for log in [false, true] {
            let all = set(&[&[&one], &[&other]]);
            let said = if log { ground.link(&all, &guard) } else { run(Kind::Hard, &all, &guard, None) };
            assert!(why(&said[0]).to_string().contains(expected), "{said:?}");
        }
    }
}

#[test]
fn a_change_of_mode_or_content_meanwhile_is_kept() {
    let ground = Ground::new();
    let one = ground.file("one", b"same", 2);
    let other = ground.file("other", b"same", 1);
    let number = inode(&other);
    let guard =
        At::new(Step::Exchange, |_| fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap());
    let said = ground.link(&set(&[&[&one], &[&other]]), &guard);
    assert!(matches!(why(&said[0]), Why::Changed), "{said:?}");
    assert_eq!(
        (inode(&other), other.symlink_metadata().unwrap().permissions().mode() & 0o777),
        (number, 0o600)
    );
    // By another name, after the comparison, though the guard noticed nothing.
    fs::set_permissions(&other, one.symlink_metadata().unwrap().permissions()).unwrap();
    let guard = At::new(Step::Link, |_| fs::write(&one, b"new!").unwrap());
    let said = ground.link(&set(&[&[&one], &[&other]]), &guard);
    assert!(why(&said[0]).to_string().starts_with("of the kept file: it changed"), "{said:?}");
    assert_eq!(fs::read(&other).unwrap(), b"same");
    assert!(ground.beside().is_empty());
}

#[test]
fn what_hard_links_share_is_not_mixed() {
    let ground = Ground::new();
    let files = [1, 2, 3, 4, 5].map(|age| ground.file(&age.to_string(), b"same", 9 - age));
    let [first, second, private, again, program] = &files;
    for path in [private, again] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(program, fs::Permissions::from_mode(0o4755)).unwrap();
    let said = ground.link(&set(&[&[first], &[second], &[private], &[again], &[program]]), &quiet());
    let what: Vec<bool> = said.iter().map(|report| matches!(report.what, What::Done)).collect();
    // The second private one is linked to the first private one.
    assert_eq!(what, [true, false, true, false], "{said:?}");
    assert!(matches!(why(&said[1]), Why::Mode) && matches!(why(&said[3]), Why::Mode), "{said:?}");
    assert_eq!(inode(private), inode(again));
    let twin = ground.file("twin", b"same", 0);
    fs::set_permissions(&twin, fs::Permissions::from_mode(0o4755)).unwrap();
    assert!(matches!(why(&ground.link(&set(&[&[program], &[&twin]]), &quiet())[0]), Why::Privileged));
    if chown(&twin, Some(4711), None).is_err() {
        println!("SKIPPED: another owner: takes root");
        return;
    }
    assert!(matches!(why(&ground.link(&set(&[&[program], &[&twin]]), &quiet())[0]), Why::Owner));
}

#[test]
fn a_file_with_several_names_goes_whole_or_stays() {
    let ground = Ground::new();
    let one = ground.file("one", b"same", 1);
    let [first, second, third] = ["first", "d/second", "third"].map(|name| ground.path(name));
    ground.file("first", b"same", 9);
    fs::create_dir(ground.path("d")).unwrap();
    fs::hard_link(&first, &second).unwrap();
    fs::hard_link(&first, &third).unwrap();
    // The third name is unknown: it is the kept one then, being of no use otherwise.
    let said = ground.link(&set(&[&[&one], &[&first, &second]]), &quiet());
    assert!(matches!(said[0].what, What::Done), "{said:?}");
    assert_eq!(inode(&one), inode(&third));
    // Two such files stay two.
    let other = ground.file("other", b"same", 1);
    fs::hard_link(&other, ground.path("unknown")).unwrap();
    let said = ground.link(&set(&[&[&one], &[&other]]), &quiet());
    assert!(matches!(why(&said[0]), Why::Names(1)), "{said:?}");
    // With all its names known it goes.
    let unknown = ground.path("unknown");
    let said = ground.link(&set(&[&[&one], &[&other, &unknown]]), &quiet());
    assert!(matches!(said[0].what, What::Done), "{said:?}");
    assert_eq!((inode(&other), inode(&unknown)), (inode(&one), inode(&one)));
    assert!(ground.beside().is_empty());
}

#[test]
fn what_is_fixed_is_kept_and_never_replaced() {
    let ground = Ground::new();
    let files = [1, 2, 3].map(|age| ground.file(&age.to_string(), b"same", age));
    let mut all = set(&[&[&files[0]], &[&files[1]], &[&files[2]]]);
    all.copies[0].fixed = true;
    all.copies[1].fixed = true;
    let before = [0, 1].map(|nth| inode(&files[nth]));
    let said = ground.link(&all, &quiet());
    assert!(said.len() == 1 && matches!(said[0].what, What::Done), "{said:?}");
    assert_eq!([0, 1].map(|nth| inode(&files[nth])), before);
    assert_eq!(inode(&files[2]), before[1]);
}

#[test]
fn a_run_that_ended_needs_no_mending() {
    let ground = Ground::new();
    let (one, other) = (ground.file("one", b"same", 2), ground.file("other", b"same", 1));
    ground.link(&set(&[&[&one], &[&other]]), &quiet());
    let before = fs::read(ground.log()).unwrap();
    assert!(mend(&ground.log(), &quiet()).unwrap().is_empty());
    assert_eq!(fs::read(ground.log()).unwrap(), before);
    fs::write(ground.log(), b"something else\n").unwrap();
    mend(&ground.log(), &quiet()).unwrap_err();
}
