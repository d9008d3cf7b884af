//! Who had a name at two moments, from the records after the first of them. Knows no index.
//!
//! An entry whose last name another takes is told of late, when it has been found or given up: the record of its loss may come after that of
//! the one that took the name, and after the second moment.

use record::EntryId;
use rustc_hash::FxHashSet;

/// One name.
#[derive(Debug, Default)]
pub(super) struct Held {
    before: Option<EntryId>,
    /// Who gave it up between the moments, having had it from the first on.
    left: Option<EntryId>,
    /// As records between the moments say who came to it.
    after: Option<Option<EntryId>>,
    /// All who came to it since the first moment: mostly one.
    came: Option<EntryId>,
    came_too: FxHashSet<EntryId>,
}

impl Held {
    /// The next record says that `id` has it no longer; `inside` when it is one between the moments.
    pub(super) fn gone(&mut self, id: EntryId, inside: bool) {
        if inside && self.after == Some(Some(id)) {
            self.after = Some(None);
        }
        if self.came == Some(id) || self.came_too.contains(&id) {
            return;
        }
        if self.came.is_some() {
            // Of two that went without having come, one was only told of late.
            self.before.get_or_insert(id);
            return;
        }
        self.before = Some(id);
        if inside {
            self.left = Some(id);
        }
    }

    /// The next record says that `id` has it. Answers whether that is one more to be remembered than the one that there is room for.
    pub(super) fn came(&mut self, id: EntryId, inside: bool) -> bool {
        if inside {
            self.after = Some(Some(id));
        }
        *self.came.get_or_insert(id) != id && self.came_too.insert(id)
    }

    /// After all records `id` has it.
    pub(super) fn now(&mut self, id: EntryId) {
        if self.came.is_none() {
            self.before = Some(id);
        }
    }

    /// Who had it at the first moment.
    pub(super) fn before(&self) -> Option<EntryId> {
        self.before
    }

    /// Who had it at the second one.
    pub(super) fn after(&self) -> Option<EntryId> {
        self.after.unwrap_or_else(|| self.before.filter(|id| self.left != Some(*id)))
    }
}

#[cfg(test)]
mod tests {
    use record::VolumeId;

    use super::*;

    /// What is told of a name, between the moments and after them: `+1` came, `-1` went, `=1` has it in the end.
    fn held(told: &str) -> (u64, u64) {
        let mut held = Held::default();
        let mut inside = true;
        for word in told.split(' ') {
            let (sign, number) = word.split_at(1);
            let id = || EntryId::new(VolumeId(1), number.parse().unwrap());
            match sign {
                "+" => {
                    held.came(id(), inside);
                }
                "-" => held.gone(id(), inside),
                "=" => held.now(id()),
                _ => inside = false,
            }
        }
        let number = |id: Option<EntryId>| id.map_or(0, |id| id.inode);
        (number(held.before()), number(held.after()))
    }

    #[test]
    fn who_had_a_name() {
        let cases = [
            ("+1", (0, 1)),
            ("-1", (1, 0)),
            ("-1 +2", (1, 2)),
            ("-1 +1", (1, 1)),
            ("+1 -1", (0, 0)),
            ("-1 +2 | -2", (1, 2)),
            ("-1 | +2", (1, 0)),
            ("+1 -1 +2 | -2 +3", (0, 2)),
            // Nothing between the moments.
            ("| -1", (1, 1)),
            ("| +1", (0, 0)),
            ("| +1 -1", (0, 0)),
            // Taken first, and told of then.
            ("+2 -1", (1, 2)),
            ("+2 | -1", (1, 2)),
            ("| +2 -1", (1, 1)),
            ("+2 +3 -2 -1", (1, 3)),
            ("+2 +3 +4 +2 -4 -3 -1", (1, 2)),
            // Taken before the first moment.
            ("-1 =2", (2, 2)),
            ("| -1 =2", (2, 2)),
            ("-1 | -2", (2, 2)),
            ("-1 -2", (2, 0)),
            ("-1 -2 +3", (2, 3)),
            ("-2 +3 -1", (2, 3)),
        ];
        for (told, expected) in cases {
            assert_eq!(held(told), expected, "{told}");
        }
    }
    /// The name itself is counted by who holds it: one who comes to it is no more than that.
    #[test]
    fn who_comes_is_one_more_beside_another_alone() {
        let id = |number| EntryId::new(VolumeId(1), number);
        let mut held = Held::default();
        let came = [1, 1, 2, 2, 1, 3].map(|number| held.came(id(number), true));
        assert_eq!(came, [false, false, true, false, false, true]);
    }
}
