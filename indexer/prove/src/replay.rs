//! Rows rebuilt from the journal: what `find --json` said once, and the records since, give what it says now. Written from
//! the description of the format alone, as a consumer would, and shares no code with one.

use std::collections::{BTreeMap, BTreeSet};

use record::wire::v1;
use serde_json::Value;

/// (volume, inode).
type Id = (u64, u64);

/// Entries and names of one root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Own stat, digest and category by identity; the access time is left out.
    entries: BTreeMap<Id, Value>,
    /// Who has a name in a directory.
    names: BTreeMap<(Id, Vec<u8>), Id>,
}

impl Rows {
    /// From the answer of `find ROOT --json`, by path.
    ///
    /// # Errors
    /// When an entry lies in no directory that the answer holds, but the root; or lacks its identity.
    pub fn of_find(find: &BTreeMap<Vec<u8>, Value>) -> Result<Rows, String> {
        let mut rows = Rows::default();
        let top = find.keys().min_by_key(|path| path.len());
        for (path, entry) in find {
            let id = identity(entry)?;
            rows.entries.insert(id, stat_of(entry));
            if Some(path) == top {
                continue;
            }
            let cut = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            let parent = find
                .get(&path[..cut])
                .ok_or_else(|| format!("find names no parent of {}", path.escape_ascii()))?;
            rows.names.insert((identity(parent)?, path[cut + 1..].to_vec()), id);
        }
        Ok(rows)
    }

    /// Applies a line of `changes --json`. One that is in already does no harm as long as those after it follow.
    ///
    /// # Errors
    /// When the record lacks what its op needs.
    pub fn apply(&mut self, change: &Value) -> Result<(), String> {
        let op = change["op"].as_str().ok_or_else(|| format!("a record without an op: {change}"))?;
        // Of scopes, roots and sets, not of entries.
        if ["gap", "root_lost", "root_found", "seeded", "duplicate"].contains(&op) {
            return Ok(());
        }
        let id = identity(change)?;
        let at = place(&change["at"])?;
        match op {
            "created" | "linked" => self.name(at, id),
            "renamed" => {
                let old = place(&change["old"])?;
                if old.is_none() || at.is_none() {
                    return Err(format!("a rename from or to nowhere: {change}"));
                }
                self.unname(old, id);
                self.name(at, id);
            }
            "unlinked" => self.unname(at, id),
            "deleted" => {
                self.unname(at, id);
                self.entries.remove(&id);
            }
            _ => {}
        }
        if change["after"].is_object() {
            self.entries.insert(id, stat_of(&change["after"]));
        } else if op != "deleted" {
            return Err(format!("no state after in {change}"));
        }
        for parent in change["parents"].as_array().into_iter().flatten() {
            let id = identity(parent)?;
            if let Some(known) = self.entries.get_mut(&id) {
                *known = stat_of(parent);
            }
        }
        Ok(())
    }

    fn name(&mut self, place: Option<(Id, Vec<u8>)>, id: Id) {
        if let Some(place) = place {
            self.names.insert(place, id);
        }
    }

    /// A name that another entry has taken since is not the old one's to give up.
    fn unname(&mut self, place: Option<(Id, Vec<u8>)>, id: Id) {
        if let Some(place) = place
            && self.names.get(&place) == Some(&id)
        {
            self.names.remove(&place);
        }
    }

    /// Without entries that have no name and in which none is: another took theirs, and they have not shown a new one.
    #[must_use]
    pub fn on_paths(&self) -> Rows {
        let mut rows = self.clone();
        let named: BTreeSet<Id> = rows.names.iter().flat_map(|((dir, _), id)| [*dir, *id]).collect();
        rows.entries.retain(|id, _| named.contains(id));
        rows
    }

    /// What differs, one line each.
    #[must_use]
    pub fn differences(&self, now: &Rows) -> Vec<String> {
        let mut said = Vec::new();
        for (id, stat) in &self.entries {
            match now.entries.get(id) {
                None => said.push(format!("{id:?} is folded to be there, and is not: {stat}")),
                Some(other) if other != stat => {
                    said.push(format!("{id:?} is folded to {stat}, and is {other}"));
                }
                Some(_) => {}
            }
        }
        for (id, stat) in now.entries.iter().filter(|(id, _)| !self.entries.contains_key(id)) {
            said.push(format!("{id:?} is not folded to be there, and is: {stat}"));
        }
        for ((parent, name), id) in &self.names {
            let other = now.names.get(&(*parent, name.clone()));
            if other != Some(id) {
                said.push(format!(
                    "{parent:?}/{} is folded to {id:?}, and is {other:?}",
                    name.escape_ascii()
                ));
            }
        }
        for ((parent, name), id) in now.names.iter().filter(|(place, _)| !self.names.contains_key(*place)) {
            said.push(format!("{parent:?}/{} is not folded to be there, and is {id:?}", name.escape_ascii()));
        }
        said
    }
}

fn number(value: &Value, field: &str) -> Result<u64, String> {
    value[field].as_u64().ok_or_else(|| format!("no {field} in {value}"))
}

fn identity(value: &Value) -> Result<Id, String> {
    Ok((number(value, "volume")?, number(value, "inode")?))
}

fn place(value: &Value) -> Result<Option<(Id, Vec<u8>)>, String> {
    let Some(name) = value["name"].as_str() else { return Ok(None) };
    let name = v1::bytes_of(name, value["name_raw"].as_str())
        .map_err(|error| format!("name_raw of {name}: {error}"))?;
    Ok(Some(((number(value, "volume")?, number(value, "parent")?), name)))
}

/// The stat fields, the digest and the category, wherever they stand.
fn stat_of(value: &Value) -> Value {
    const FIELDS: [&str; 12] = [
        "kind",
        "size",
        "allocated",
        "modified_ns",
        "changed_ns",
        "created_ns",
        "mode",
        "uid",
        "gid",
        "links",
        "digest",
        "category",
    ];
    FIELDS.iter().map(|field| ((*field).to_owned(), value[field].clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stat(size: u64) -> Value {
        json!({"kind": "file", "size": size, "digest": null})
    }

    fn found() -> BTreeMap<Vec<u8>, Value> {
        let entry =
            |inode: u64| json!({"volume": 1, "inode": inode, "kind": "file", "size": inode, "digest": null});
        BTreeMap::from([
            (b"/r".to_vec(), entry(2)),
            (b"/r/a".to_vec(), entry(3)),
            (b"/r/b".to_vec(), entry(4)),
        ])
    }

    fn at(name: &str) -> Value {
        json!({"volume": 1, "parent": 2, "name": name})
    }

    /// An exchange and a removal, folded; and the judge sees each kind of lie.
    #[test]
    fn records_move_names_and_states() {
        let mut rows = Rows::of_find(&found()).unwrap();
        let before = rows.clone();
        let rename = |inode: u64, old: &str, new: &str| json!({"op": "renamed", "volume": 1, "inode": inode, "old": at(old), "at": at(new), "after": stat(inode)});
        rows.apply(&rename(3, "a", "b")).unwrap();
        rows.apply(&rename(4, "b", "a")).unwrap();
        assert_eq!(rows.differences(&before).len(), 2);
        rows.apply(&rename(3, "b", "c")).unwrap();
        rows.apply(&rename(4, "a", "b")).unwrap();
        rows.apply(&rename(3, "c", "a")).unwrap();
        assert_eq!(rows.differences(&before), Vec::<String>::new());

        rows.apply(&json!({"op": "modified", "volume": 1, "inode": 3, "at": at("a"), "after": stat(9)}))
            .unwrap();
        rows.apply(&json!({"op": "deleted", "volume": 1, "inode": 4, "at": at("b"),
            "parents": [{"volume": 1, "inode": 2, "kind": "directory", "size": 7}]}))
            .unwrap();
        let said = rows.differences(&before);
        assert_eq!(said.len(), 4, "{said:?}");
        assert_eq!(before.differences(&rows).len(), 4);
    }

    /// A journal that tells of the wrong entry, forgets one, or tells of one too many leads elsewhere, and is found out.
    #[test]
    fn a_doctored_journal_is_found_out() {
        let before = Rows::of_find(&found()).unwrap();
        let created = |inode: u64, name: &str| json!({"op": "created", "volume": 1, "inode": inode, "at": at(name), "after": stat(1)});
        let told = [created(5, "c"), created(6, "d")];
        let mut truth = before.clone();
        told.iter().for_each(|change| truth.apply(change).unwrap());
        let fold = |changes: &[Value]| {
            let mut rows = before.clone();
            changes.iter().for_each(|change| rows.apply(change).unwrap());
            rows.differences(&truth)
        };
        assert_eq!(fold(&told), Vec::<String>::new());
        assert_eq!(fold(&told[1..]).len(), 2, "a lost record: an entry and a name");
        assert_eq!(fold(&[told[0].clone(), created(7, "d")]).len(), 3, "another entry");
        assert_eq!(fold(&[&told[..], &[created(8, "e")]].concat()).len(), 2, "one too many");
        assert_eq!(fold(&[told[0].clone(), created(6, "e")]).len(), 2, "another name");
        let twice = [&told[..], &told[1..]].concat();
        assert_eq!(fold(&twice), Vec::<String>::new(), "applying one again changes nothing");
        let mut rows = before.clone();
        assert!(rows.apply(&json!({"op": "created", "at": at("c")})).is_err());
        assert!(rows.apply(&json!({"volume": 1, "inode": 5})).is_err());
    }
}
