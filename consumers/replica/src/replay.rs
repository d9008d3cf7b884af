//! A replay: between its two words each entry of a root is told of once, as of one record. When all of them came, what is older and
//! was not among them is gone. One that does not end changes nothing but what it told.

use redb::ReadableTable as _;

use crate::apply::{Work, all_of, root_of, seq_of};
use crate::keys::{Who, link};
use crate::message::Change;
use crate::sources::Replay;
use crate::store::{Held, ReplicaError};

/// Entries looked at before what is to go goes.
const CHUNK: usize = 4_096;

impl Work<'_> {
    pub(crate) fn begun(&mut self, number: u32, root: u32, as_of: u64) -> Result<(), ReplicaError> {
        let late = self.sources.get(&number).is_some_and(|source| as_of < source.forgotten);
        if late {
            tracing::warn!(
                as_of,
                root,
                "a replay came too late: what was gone by then is forgotten; replay again"
            );
        }
        if let Some(root) = self.root(number, root)
            && !late
            && root.whole.is_none_or(|whole| whole < as_of)
            && root.replay.is_none_or(|replay| replay.as_of < as_of)
        {
            root.replay = Some(Replay { as_of, came: 0, of: None });
        }
        Ok(())
    }

    pub(crate) fn read(
        &mut self,
        number: u32,
        root: u32,
        as_of: u64,
        change: Change,
    ) -> Result<(), ReplicaError> {
        if self.whole(number, root).is_some_and(|whole| whole >= as_of) {
            return Ok(());
        }
        let who = Who { source: number, id: change.id };
        let before = self.held(who)?;
        let later = before.as_ref().and_then(|before| before.read).filter(|read| read.0 == root);
        if later.is_some_and(|(_, later)| later > as_of) {
            // Of a replay before the one that told of it.
            return Ok(());
        }
        if let Some((dir, path)) = &change.top {
            self.top(Who { source: number, id: *dir }, path)?;
        }
        for name in self.names(who)? {
            let key = link(who, name.dir, &name.name);
            let older = self.links.get(key.as_slice())?.is_some_and(|known| seq_of(known.value()) <= as_of);
            if older && !change.has.contains(&name) {
                self.link(who, root, as_of, &name, false)?;
            }
        }
        for name in &change.has {
            self.link(who, root, as_of, name, true)?;
        }
        // Of one whose begin did not come it is not known what came.
        let replay = self.root(number, root).and_then(|root| root.replay.as_mut());
        let known = before.as_ref().and_then(|before| before.read);
        let mut read = known;
        if let Some(replay) = replay.filter(|replay| replay.as_of == as_of) {
            read = Some((root, as_of));
            replay.came += u64::from(read != known);
        }
        let held = match &before {
            Some(before) if before.seq > as_of => Held { read, ..before.clone() },
            _ => Held { seq: as_of, root, read, state: change.state },
        };
        self.put(who, before.and_then(|before| before.state).as_ref(), Some(&held))?;
        self.finish(number, root)
    }

    pub(crate) fn ended(
        &mut self,
        number: u32,
        root: u32,
        as_of: u64,
        entries: u64,
    ) -> Result<(), ReplicaError> {
        let replay = self.root(number, root).and_then(|root| root.replay.as_mut());
        if let Some(replay) = replay.filter(|replay| replay.as_of == as_of) {
            replay.of = Some(entries);
        }
        self.finish(number, root)
    }

    /// Draws the conclusion when all of a replay is here.
    fn finish(&mut self, number: u32, root: u32) -> Result<(), ReplicaError> {
        let replay = self.root(number, root).and_then(|root| root.replay);
        let Some(Replay { as_of, came, of: Some(of) }) = replay else { return Ok(()) };
        if came != of || self.sources.get(&number).is_some_and(|source| as_of < source.forgotten) {
            return Ok(());
        }
        self.drop_unread(number, root, as_of)?;
        self.drop_graves(number, root, as_of)?;
        if let Some(root) = self.root(number, root) {
            (root.whole, root.replay) = (Some(as_of), None);
        }
        let Some(source) = self.sources.get_mut(&number) else { return Ok(()) };
        source.settle();
        if source.is_complete() {
            let name = source.name.clone();
            let older =
                self.sources.range(..number).filter(|(_, source)| source.stale && source.name == name);
            let stale: Vec<u32> = older.map(|(of, _)| *of).collect();
            for number in stale {
                self.drop_source(number)?;
            }
        }
        Ok(())
    }

    fn drop_unread(&mut self, number: u32, root: u32, as_of: u64) -> Result<(), ReplicaError> {
        let (first, end) = all_of(number);
        let mut from = first.to_vec();
        loop {
            let (mut gone, mut last) = (Vec::new(), None);
            for row in self.entries.range(from.as_slice()..end.as_slice())?.take(CHUNK) {
                let (key, value) = row?;
                let held = Held::read(value.value())?;
                if held.root == root && held.seq <= as_of && held.read != Some((root, as_of)) {
                    gone.extend(Who::of(key.value()).map(|who| (who, held)));
                }
                last = Some(key.value().to_vec());
            }
            for (who, held) in gone {
                self.put(who, held.state.as_ref(), None)?;
                for name in self.names(who)? {
                    self.links.remove(link(who, name.dir, &name.name).as_slice())?;
                }
                self.tops.remove(who.key().as_slice())?;
            }
            let Some(mut next) = last else { break };
            next.push(0);
            from = next;
        }
        // Names of what was told of, that older records gave after it was told of.
        self.links.retain_in(first.as_slice()..end.as_slice(), |_, value| {
            root_of(value) != root || seq_of(value) >= as_of
        })?;
        Ok(())
    }

    fn drop_graves(&mut self, number: u32, root: u32, as_of: u64) -> Result<(), ReplicaError> {
        let mut from = number.to_be_bytes().to_vec();
        let mut end = from.clone();
        end.extend(as_of.saturating_add(1).to_be_bytes());
        loop {
            let rows = self.graves.range(from.as_slice()..end.as_slice())?.take(CHUNK);
            let keys: Vec<Vec<u8>> =
                rows.map(|row| row.map(|(key, _)| key.value().to_vec())).collect::<Result<_, _>>()?;
            let Some(last) = keys.last() else { return Ok(()) };
            from.clone_from(last);
            from.push(0);
            for key in &keys {
                self.bury(key, Some(root))?;
            }
        }
    }

    /// Drops all of a source.
    fn drop_source(&mut self, number: u32) -> Result<(), ReplicaError> {
        let (first, end) = all_of(number);
        loop {
            let rows = self.entries.range(first.as_slice()..end.as_slice())?.take(CHUNK);
            let mut gone = Vec::new();
            for row in rows {
                let (key, value) = row?;
                gone.extend(
                    Who::of(key.value()).map(|who| Held::read(value.value()).map(|held| (who, held))),
                );
            }
            if gone.is_empty() {
                break;
            }
            for gone in gone {
                let (who, held) = gone?;
                self.put(who, held.state.as_ref(), None)?;
            }
        }
        let range = first.as_slice()..end.as_slice();
        self.links.retain_in(range.clone(), |_, _| false)?;
        self.tops.retain_in(range.clone(), |_, _| false)?;
        self.graves.retain_in(range, |_, _| false)?;
        self.sources.remove(&number);
        Ok(())
    }
}
