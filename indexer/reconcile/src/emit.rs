//! Row edits and change records from the differences of a finished batch.

use record::{Body, Change, EntryId, Kind, Op, Place, Record, RootId, Seq, Stat, Time};
use rustc_hash::FxHashMap;

use crate::batch::{Batch, Node, Touched};
use crate::identity::doubtful;
use crate::paths::{Paths, Side, join};
use crate::{Finished, Plan, Stored, Target};

/// Where a change happened, rendered.
struct Spot {
    root: Option<RootId>,
    path: Box<[u8]>,
}

impl<S: Stored> Batch<'_, S> {
    /// Brings the fields that follow from others up to date, and drops what came out unchanged.
    pub(crate) fn settle_flags(&mut self, finished: &mut Finished) {
        for id in &self.order {
            let Some(touched) = self.touched.get_mut(id) else { continue };
            let tells = touched.tells();
            let Some(node) = &mut touched.after else { continue };
            if let Some(before) = &touched.before
                && !touched.recycled
                && !touched.read
                && before.row.stat.same(&node.row.stat)
            {
                // A late look came between. There will be no record, so what follows from the stat is as stored.
                node.row.magic = before.row.magic;
                node.row.digest = before.row.digest;
            }
            node.row.place = node.names.first().cloned();
            node.row.many_names = node.names.len() > 1;
            if !node.names.is_empty() {
                node.detached = None;
            }
            if node.row.stat.kind == Kind::File {
                // The row says what the last record said: where there is none, nothing begins, and nothing is complete.
                if !node.names.is_empty() {
                    node.row.writing = (node.row.writing || (touched.written && tells)) && !touched.closed;
                }
                if node.row.writing {
                    finished.writing.push(*id);
                }
                if touched.doubted && !touched.read {
                    finished.doubted.push(*id);
                }
            }
        }
    }

    pub(crate) fn plan_rows(&mut self, plan: &mut Plan) {
        let mut owners: FxHashMap<&Place, EntryId> = FxHashMap::default();
        for id in &self.order {
            for place in self.touched[id].after.iter().flat_map(|node| &node.names) {
                owners.insert(place, *id);
            }
        }
        for id in &self.order {
            let Touched { before, after, .. } = &self.touched[id];
            if before == after {
                continue;
            }
            let old = before.as_ref().map(|node| &node.names[..]).unwrap_or_default();
            let new = after.as_ref().map(|node| &node.names[..]).unwrap_or_default();
            plan.rows.push((*id, after.as_ref().map(|node| node.row.clone())));
            let note = after.as_ref().and_then(|node| node.detached.as_ref());
            if note != before.as_ref().and_then(|node| node.detached.as_ref()) {
                plan.detached.push((*id, note.cloned()));
            }
            for place in old.iter().filter(|place| !owners.contains_key(place)) {
                plan.names.push((place.clone(), None));
            }
            let directory = after.as_ref().is_some_and(|node| node.row.stat.is_directory());
            let was_directory = before.as_ref().is_some_and(|node| node.row.stat.is_directory());
            for place in new.iter().filter(|place| !old.contains(place) || directory != was_directory) {
                plan.names.push((place.clone(), Some(Target { id: *id, directory })));
            }
            let old_links = if old.len() > 1 { old } else { &[] };
            let new_links = if new.len() > 1 { new } else { &[] };
            for place in old_links.iter().filter(|place| !new_links.contains(place)) {
                plan.links.push((*id, place.clone(), false));
            }
            for place in new_links.iter().filter(|place| !old_links.contains(place)) {
                plan.links.push((*id, place.clone(), true));
            }
        }
        plan.rows.sort_by_key(|(id, _)| *id);
        plan.names.sort();
        plan.links.sort();
    }

    pub(crate) fn plan_records(&mut self, plan: &mut Plan) -> Result<(), S::Error> {
        let mut paths = Paths::default();
        let mut quiet_directories = Vec::new();
        for id in self.record_order() {
            let touched = self.touched[&id].clone();
            match (&touched.before, &touched.after) {
                (None, Some(after)) => self.appeared(id, after, &touched, &mut paths, plan)?,
                (Some(before), None) => self.went(id, before, &touched, &mut paths, plan)?,
                (Some(before), Some(after)) if touched.recycled => {
                    self.replaced(id, before, after, &touched, &mut paths, plan)?;
                }
                (Some(before), Some(after)) => {
                    if self.changed(id, before, after, &touched, &mut paths, plan)? {
                        quiet_directories.push((id, touched));
                    }
                }
                (None, None) => {}
            }
        }
        self.attach_parents(quiet_directories, &mut paths, plan)
    }

    fn appeared(
        &mut self,
        id: EntryId,
        after: &Node,
        touched: &Touched,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        for (nth, place) in after.names.iter().enumerate() {
            let op = if nth == 0 { Op::Created } else { Op::Linked };
            let spot = self.spot(Side::After, place, paths)?;
            let mut change = change(id, op, Some(place), None, Some(after), spot.path);
            if nth > 0 {
                change.before = change.after;
            }
            push(plan, touched, spot.root, change);
        }
        Ok(())
    }

    fn went(
        &mut self,
        id: EntryId,
        before: &Node,
        touched: &Touched,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        if before.names.is_empty() {
            let Some(detached) = &before.detached else {
                // A root's own directory: it has no name, and ends when another is accepted in its place.
                let dir = paths.dir(self, Side::Before, id)?;
                let change = change(id, Op::Deleted, None, Some(before), None, dir.path().into());
                push(plan, touched, dir.root, change);
                return Ok(());
            };
            let root = self.root_of(detached)?;
            let path = detached.path.clone();
            let change = change(id, Op::Deleted, Some(&detached.place), Some(before), None, path);
            push(plan, touched, root, change);
            return Ok(());
        }
        // The name that was the entry's first goes last: it ends the entry.
        for (nth, place) in before.names.iter().enumerate().rev() {
            let spot = self.spot(Side::Before, place, paths)?;
            let (op, rest) = if nth == 0 { (Op::Deleted, None) } else { (Op::Unlinked, Some(before)) };
            let change = change(id, op, Some(place), Some(before), rest, spot.path);
            push(plan, touched, spot.root, change);
        }
        Ok(())
    }

    /// Two entries, one inode number: the end of one and the beginning of the other, each naming the other.
    fn replaced(
        &mut self,
        id: EntryId,
        before: &Node,
        after: &Node,
        touched: &Touched,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        let start = plan.records.len();
        self.went(id, before, touched, paths, plan)?;
        let ended = plan.records.len();
        self.appeared(id, after, touched, paths, plan)?;
        if ended > start && plan.records.len() > ended {
            pair(&mut plan.records[ended - 1], ended as u64 + 1);
            pair(&mut plan.records[ended], ended as u64);
        }
        Ok(())
    }

    /// Records of an entry that was and is. Answers true for a directory whose own stat moved: a record of
    /// one of its names may carry that.
    fn changed(
        &mut self,
        id: EntryId,
        before: &Node,
        after: &Node,
        touched: &Touched,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<bool, S::Error> {
        if before == after {
            return Ok(false);
        }
        if after.names.is_empty() && !before.names.is_empty() {
            // It waits for its new name, and is known by the one that is noted until then: the record of what became of it gives
            // that one up, or that of the entry that took it. Other names went, and one that went to nobody.
            let noted = after.detached.as_ref().map(|detached| &detached.place);
            for place in &before.names {
                if Some(place) != noted || self.is_free(place) {
                    let spot = self.spot(Side::Before, place, paths)?;
                    let change = change(id, Op::Unlinked, Some(place), Some(before), Some(after), spot.path);
                    push(plan, touched, spot.root, change);
                }
            }
            return Ok(false);
        }
        let mut gone: Vec<(&Place, Box<[u8]>)> = Vec::new();
        for place in before.names.iter().filter(|place| !after.names.contains(place)) {
            gone.push((place, self.spot(Side::Before, place, paths)?.path));
        }
        // With a witness, what has its old name again never had another: a mount lay over it.
        let back = |place: &Place| touched.moved && after.names.contains(place);
        let found = before.detached.as_ref().filter(|_| !after.names.is_empty());
        if let Some(detached) = found.filter(|detached| !back(&detached.place)) {
            gone.push((&detached.place, detached.path.clone()));
        }
        let come: Vec<&Place> = after.names.iter().filter(|place| !before.names.contains(place)).collect();
        let kept = after.names.len() > come.len();
        if !kept && !gone.is_empty() && !touched.moved && doubtful(&before.row, &after.row.stat) {
            // No witness says that the entry moved, and its birth cannot tell: call it a new one.
            self.replaced(id, before, after, touched, paths, plan)?;
            return Ok(false);
        }
        let named = !gone.is_empty() || !come.is_empty();
        let renames = gone.len().min(come.len());
        let mut gone = gone.into_iter();
        for place in &come[..renames] {
            let spot = self.spot(Side::After, place, paths)?;
            let mut change = change(id, Op::Renamed, Some(place), Some(before), Some(after), spot.path);
            if let Some((old, old_path)) = gone.next() {
                change.old = Some(old.clone());
                change.old_path = Some(old_path);
            }
            push(plan, touched, spot.root, change);
        }
        for place in &come[renames..] {
            let spot = self.spot(Side::After, place, paths)?;
            push(
                plan,
                touched,
                spot.root,
                change(id, Op::Linked, Some(place), Some(before), Some(after), spot.path),
            );
        }
        for (place, path) in gone {
            let root = self.spot(Side::Before, place, paths)?.root;
            push(plan, touched, root, change(id, Op::Unlinked, Some(place), Some(before), Some(after), path));
        }
        let Some(op) = stat_op(before, after, named) else {
            if touched.read && !named && !after.names.is_empty() && before.state() != after.state() {
                self.push_read(id, before, after, touched, paths, plan)?;
            }
            return Ok(false);
        };
        if after.row.stat.is_directory() && !named {
            return Ok(true);
        }
        self.push_own(id, op, before, after, touched, paths, plan)?;
        Ok(false)
    }

    /// Gives the new stat of a directory to the last record that names something in it, or to a record of
    /// its own.
    fn attach_parents(
        &mut self,
        directories: Vec<(EntryId, Touched)>,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        if directories.is_empty() {
            return Ok(());
        }
        let mut last: FxHashMap<EntryId, usize> = FxHashMap::default();
        for (at, record) in plan.records.iter().enumerate() {
            let Body::Change(change) = &record.body else { continue };
            let moves_names =
                matches!(change.op, Op::Created | Op::Deleted | Op::Renamed | Op::Linked | Op::Unlinked);
            for place in change.at.iter().chain(&change.old).filter(|_| moves_names) {
                last.insert(place.dir, at);
            }
        }
        for (id, touched) in directories {
            let (Some(before), Some(after)) = (&touched.before, &touched.after) else { continue };
            let (was, is) = (&before.row.stat, &after.row.stat);
            let carried = match last.get(&id).and_then(|at| plan.records.get_mut(*at)) {
                Some(Record { body: Body::Change(change), .. }) => {
                    change.parents.push((id, *is));
                    true
                }
                _ => false,
            };
            let content = was.modified != is.modified || was.size != is.size;
            if !carried || !same_rights(was, is) {
                let op = if content && !carried { Op::Modified } else { Op::Attrib };
                self.push_own(id, op, before, after, &touched, paths, plan)?;
            }
        }
        Ok(())
    }

    /// The content was read: what it is now, and what it was when it was last known.
    fn push_read(
        &mut self,
        id: EntryId,
        before: &Node,
        after: &Node,
        touched: &Touched,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        let op = if touched.corrupt { Op::Corrupt } else { Op::Hashed };
        self.push_own(id, op, before, after, touched, paths, plan)?;
        if let Some(Record { body: Body::Change(change), .. }) = plan.records.last_mut()
            && let Some(state) = &mut change.before
        {
            state.digest = before.row.digest.map(|stored| stored.digest);
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one record's ingredients; a struct for one call buys nothing"
    )]
    fn push_own(
        &mut self,
        id: EntryId,
        op: Op,
        before: &Node,
        after: &Node,
        touched: &Touched,
        paths: &mut Paths,
        plan: &mut Plan,
    ) -> Result<(), S::Error> {
        let place = after.names.first();
        let spot = match place {
            Some(place) => self.spot(Side::After, place, paths)?,
            None => {
                let dir = paths.dir(self, Side::After, id)?;
                Spot { root: dir.root, path: dir.path().into() }
            }
        };
        push(plan, touched, spot.root, change(id, op, place, Some(before), Some(after), spot.path));
        Ok(())
    }

    fn spot(&mut self, side: Side, place: &Place, paths: &mut Paths) -> Result<Spot, S::Error> {
        let dir = paths.dir(self, side, place.dir)?;
        Ok(Spot { root: dir.root, path: join(dir.path(), &place.name) })
    }
}

/// What the stat alone says, after what the names said (`named`).
fn stat_op(before: &Node, after: &Node, named: bool) -> Option<Op> {
    let (was, is) = (&before.row.stat, &after.row.stat);
    let file = is.kind == Kind::File;
    let content = was.size != is.size || was.modified != is.modified;
    let completes = before.row.writing && !after.row.writing;
    if file && (content || completes) {
        return Some(Op::Modified);
    }
    if named {
        // The name's record carries the new stat; rights are worth one of their own.
        return (!same_rights(was, is)).then_some(Op::Attrib);
    }
    if was.same(is) {
        return None;
    }
    Some(if content { Op::Modified } else { Op::Attrib })
}

fn same_rights(was: &Stat, is: &Stat) -> bool {
    was.mode == is.mode && was.uid == is.uid && was.gid == is.gid
}

fn change(
    entry: EntryId,
    op: Op,
    at: Option<&Place>,
    before: Option<&Node>,
    after: Option<&Node>,
    path: Box<[u8]>,
) -> Change {
    let birth: Option<Time> = after.or(before).and_then(|node| node.row.stat.created);
    let before = if op == Op::Created { None } else { before };
    Change {
        entry,
        birth,
        op,
        at: at.cloned(),
        old: None,
        before: before.map(Node::state),
        after: after.map(Node::state),
        parents: Vec::new(),
        complete: !after.is_some_and(|node| node.row.writing),
        pair: None,
        path,
        old_path: None,
    }
}

fn push(plan: &mut Plan, touched: &Touched, root: Option<RootId>, change: Change) {
    plan.records.push(Record {
        seq: Seq(plan.records.len() as u64 + 1),
        seen: touched.at,
        how: touched.how,
        root: root.unwrap_or(RootId(0)),
        body: Body::Change(Box::new(change)),
    });
}

fn pair(record: &mut Record, other: u64) {
    if let Body::Change(change) = &mut record.body {
        change.pair = Some(Seq(other));
    }
}
