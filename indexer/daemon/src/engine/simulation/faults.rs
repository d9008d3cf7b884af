//! What may be wrong with the simulated disk for a while: directories that cannot be read, rights that are taken,
//! calls that fail now and then. What must hold meanwhile is in `oracle`.

use super::model::{Key, Model};
use super::rng::Rng;

/// Most directories that are out of order at once.
const MOST: usize = 4;

impl Model {
    /// Something goes wrong, or is mended.
    pub(super) fn fault(&mut self, rng: &mut Rng) {
        let key = rng.pick(&self.directories());
        match rng.below(10) {
            0..3 if self.bad.len() < MOST => {
                self.note(|model| format!("{} cannot be read", model.show(key)));
                self.bad.insert(key);
            }
            3..6 if self.locked.len() < MOST => {
                let bits = rng.pick(&[0o500, 0o400, 0o100]);
                self.lock(key, bits);
            }
            6 => {
                self.flaky = 1 + rng.below(30);
                self.note(|model| format!("{} calls may fail", model.flaky));
            }
            7 => {
                if let Some(key) = self.bad.pop_first() {
                    self.note(|model| format!("{} can be read", model.show(key)));
                }
            }
            8 => {
                if let Some((key, mode)) = self.locked.pop_first() {
                    self.unlock(key, mode);
                }
            }
            _ => {}
        }
    }

    /// All is mended. The kernel tells of rights alone.
    pub(super) fn heal(&mut self) {
        self.note(|_| "all faults are over".to_owned());
        self.bad.clear();
        self.flaky = 0;
        for (key, mode) in std::mem::take(&mut self.locked) {
            self.unlock(key, mode);
        }
    }

    /// Whether the directory refuses to be listed or looked into.
    pub(super) fn refuses(&self, key: Key) -> bool {
        self.bad.contains(&key) || self.get(key).mode & 0o500 != 0o500
    }

    /// Whether its names can be listed, if not looked at.
    pub(super) fn can_be_listed(&self, key: Key) -> bool {
        !self.bad.contains(&key) && self.get(key).mode & 0o400 != 0
    }

    /// Takes rights of a directory, of which there is an event.
    fn lock(&mut self, key: Key, bits: u16) {
        let Some((dir, name)) = self.place(key) else { return };
        if self.fixed.contains(&key) || self.locked.contains_key(&key) {
            return;
        }
        let mode = self.get(key).mode;
        self.locked.insert(key, mode);
        self.chmod_at(dir, &name, key, mode & !bits);
    }

    fn unlock(&mut self, key: Key, mode: u16) {
        if let Some((dir, name)) = self.place(key) {
            self.chmod_at(dir, &name, key, mode);
        }
    }

    /// Where a directory is; `None` for the top and what has ended.
    fn place(&self, key: Key) -> Option<(Key, Vec<u8>)> {
        let parent = self.objects[key].as_ref()?.parent?;
        let (name, _) = self.get(parent).children.iter().find(|(_, child)| **child == key)?;
        Some((parent, name.clone()))
    }

    /// The names on the way up from a directory.
    pub(super) fn way_up(&self, dir: Key) -> Vec<(Key, Vec<u8>)> {
        std::iter::successors(self.place(dir), |(at, _)| self.place(*at)).collect()
    }

    /// Whether a directory above refuses.
    pub(super) fn is_hidden(&self, dir: Key) -> bool {
        self.way_up(dir).iter().any(|(above, _)| self.refuses(*above))
    }
}
