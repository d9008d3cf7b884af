//! What an index asks of workers on other hosts, and what they answer, version 1: JSON, one object a message. Both come from
//! outside: what does not parse is refused with a reason. Knows no broker and no file.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use super::v1::{self, bytes_of, digest_of, digest_text, hex, text_and_raw, unhex};
use crate::{Category, Digest, DigestKind, EntryId, Time, VolumeId};

/// Bytes of a text that somebody else wrote, at most: paths, names of hosts, reasons.
const MOST_TEXT: usize = 64 << 10;

/// Digests of a whole content.
const KINDS: [DigestKind; 2] = [DigestKind::Blake3, DigestKind::Blake2b256];

/// What jobs are an instance of: the identity of their JSON Schema.
pub const JOB_SCHEMA: &str = "urn:indexer:rehash-job:v1";
/// The same for answers.
pub const ANSWER_SCHEMA: &str = "urn:indexer:rehash-answer:v1";

/// Which content is meant: a file, and what it was when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Which {
    /// Our number of the file system it is on.
    pub volume: u32,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Content last changed.
    #[serde(with = "v1::ns")]
    #[schemars(with = "i128")]
    pub modified_ns: i128,
    /// Inode last changed.
    #[serde(with = "v1::ns")]
    #[schemars(with = "i128")]
    pub changed_ns: i128,
    /// Birth; null where the file system keeps none.
    #[serde(with = "v1::ns::option")]
    #[schemars(with = "Option<i128>")]
    pub created_ns: Option<i128>,
}

impl Which {
    /// The file.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId::new(VolumeId(self.volume), self.inode)
    }

    /// Its birth.
    #[must_use]
    pub fn birth(&self) -> Option<Time> {
        self.created_ns.map(Time)
    }
}

/// Read this file in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The host of the index.
    pub host: String,
    /// The epoch of its journal: whom the answer is for.
    #[schemars(extend("pattern" = "^[0-9a-f]{32}$"))]
    pub epoch: String,
    /// Absolute path, as that host sees it.
    pub path: String,
    /// Its bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// Which content.
    pub which: Which,
    /// What the digest is to be made by: `blake3` or `blake2b-256`.
    #[schemars(extend("enum" = KINDS.map(DigestKind::word)))]
    pub digest: String,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The host that read it.
    pub worker: String,
    /// The epoch of the job.
    #[schemars(extend("pattern" = "^[0-9a-f]{32}$"))]
    pub epoch: String,
    /// Which content, as in the job.
    pub which: Which,
    /// `kind:hex` of the whole content; none where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = schema::digest_pattern()))]
    pub digest: Option<String>,
    /// What its first bytes say it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = Category::ALL.map(Category::word)))]
    pub magic: Option<String>,
    /// Hash of the first 4 KiB, 16 bytes in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9a-f]{32}$"))]
    pub head: Option<String>,
    /// Of the last 4 KiB of a larger file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9a-f]{32}$"))]
    pub tail: Option<String>,
    /// Bytes read.
    #[serde(default)]
    pub read: u64,
    /// Why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A content as a worker found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its digest.
    pub digest: Digest,
    /// What its first bytes say.
    pub magic: Category,
    /// Of the first 4 KiB.
    pub head: [u8; 16],
    /// Of the last.
    pub tail: Option<[u8; 16]>,
    /// Bytes read.
    pub read: u64,
}

/// Why a message is no job or no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Job {
    /// A job for `path`.
    #[must_use]
    pub fn new(host: &str, epoch: &str, path: &[u8], which: Which, kind: DigestKind) -> Job {
        let (path, path_raw) = text_and_raw(path);
        let word = str::to_owned;
        Job { host: word(host), epoch: word(epoch), path, path_raw, which, digest: word(kind.word()) }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(body: &[u8]) -> Result<Job, Malformed> {
        let job: Job = serde_json::from_slice(body).map_err(|error| Malformed(format!("no job: {error}")))?;
        short(&[&job.host, &job.epoch, &job.path])?;
        Ok(job)
    }

    /// The bytes of the path.
    ///
    /// # Errors
    /// When it is not base64.
    pub fn path(&self) -> Result<Vec<u8>, Malformed> {
        bytes_of(&self.path, self.path_raw.as_deref())
            .map_err(|error| Malformed(format!("path_raw: {error}")))
    }

    /// What the digest is to be made by.
    ///
    /// # Errors
    /// When it is none of a whole content.
    pub fn kind(&self) -> Result<DigestKind, Malformed> {
        KINDS
            .into_iter()
            .find(|kind| kind.word() == self.digest)
            .ok_or_else(|| Malformed(format!("{:?} is no digest of a whole content", self.digest)))
    }

    /// What is answered where it could not be read.
    #[must_use]
    pub fn refused(&self, worker: &str, why: &str) -> Answer {
        Answer { refused: Some(why.to_owned()), ..self.answer(worker) }
    }

    /// What is answered where it could.
    #[must_use]
    pub fn done(&self, worker: &str, told: &Told) -> Answer {
        Answer {
            digest: Some(digest_text(&told.digest)),
            magic: Some(told.magic.word().to_owned()),
            head: Some(token(&told.head)),
            tail: told.tail.map(|tail| token(&tail)),
            read: told.read,
            ..self.answer(worker)
        }
    }

    fn answer(&self, worker: &str) -> Answer {
        Answer {
            worker: worker.to_owned(),
            epoch: self.epoch.clone(),
            which: self.which,
            digest: None,
            magic: None,
            head: None,
            tail: None,
            read: 0,
            refused: None,
        }
    }
}

impl Answer {
    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(body: &[u8]) -> Result<Answer, Malformed> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|error| Malformed(format!("no answer: {error}")))?;
        short(&[&answer.worker, &answer.epoch, answer.refused.as_deref().unwrap_or_default()])?;
        Ok(answer)
    }

    /// What was found, or why nothing was.
    ///
    /// # Errors
    /// [`Malformed`] where it says neither, or both.
    pub fn told(&self) -> Result<Result<Told, &str>, Malformed> {
        let (digest, magic, head) = match (&self.digest, &self.magic, &self.head, &self.refused) {
            (None, None, None, Some(why)) => return Ok(Err(why)),
            (Some(digest), Some(magic), Some(head), None) => (digest, magic, head),
            _ => return Err(Malformed("an answer says what was found, or why nothing was".to_owned())),
        };
        let bad = |what: &str, text: &str| Malformed(format!("{what}: {text:?} is none"));
        Ok(Ok(Told {
            digest: digest_of(digest).ok_or_else(|| bad("digest", digest))?,
            magic: Category::from_word(magic).ok_or_else(|| bad("magic", magic))?,
            head: unhex(head).ok_or_else(|| bad("head", head))?,
            tail: match &self.tail {
                Some(tail) => Some(unhex(tail).ok_or_else(|| bad("tail", tail))?),
                None => None,
            },
            read: self.read,
        }))
    }
}

fn token(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    hex(bytes, &mut text);
    text
}

fn short(texts: &[&str]) -> Result<(), Malformed> {
    match texts.iter().find(|text| text.len() > MOST_TEXT) {
        Some(text) => Err(Malformed(format!("a text of {} bytes; at most {MOST_TEXT} are read", text.len()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let which = Which {
            volume: 1,
            inode: u64::MAX,
            size: 5,
            modified_ns: -7,
            changed_ns: 1_700_000_000_123_456_789,
            created_ns: None,
        };
        Job::new("nas", &"e".repeat(32), b"/srv/a\xff", which, DigestKind::Blake2b256)
    }

    #[test]
    fn a_job_and_its_answers_come_back_as_they_went() {
        let job = job();
        let back = Job::read(&serde_json::to_vec(&job).unwrap()).unwrap();
        assert_eq!((back.path().unwrap(), back.kind()), (b"/srv/a\xff".to_vec(), Ok(DigestKind::Blake2b256)));
        assert_eq!(back, job);
        let digest = Digest { kind: DigestKind::Blake2b256, bytes: std::array::from_fn(|at| at as u8 * 7) };
        for tail in [None, Some([0xfe; 16])] {
            let told = Told { digest, magic: Category::Video, head: [9; 16], tail, read: 5 };
            let body = serde_json::to_vec(&job.done("w", &told)).unwrap();
            let answer = Answer::read(&body).unwrap();
            assert_eq!((answer.told(), answer.which), (Ok(Ok(told)), job.which));
        }
        let body = serde_json::to_vec(&job.refused("w", "gone")).unwrap();
        assert_eq!(Answer::read(&body).unwrap().told(), Ok(Err("gone")));
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_reason() {
        assert!(Job::read(b"{}").unwrap_err().0.contains("no job"));
        assert!(Answer::read(b"\x00").unwrap_err().0.contains("no answer"));
        let long = Job { host: "x".repeat(MOST_TEXT + 1), ..job() };
        assert!(Job::read(&serde_json::to_vec(&long).unwrap()).unwrap_err().0.contains("at most"));
        assert!(Job { digest: "blake3-sampled".into(), ..job() }.kind().is_err());
        let told = Told {
            digest: Digest { kind: DigestKind::Blake3, bytes: [1; 32] },
            magic: Category::Other,
            head: [0; 16],
            tail: None,
            read: 0,
        };
        let good = job().done("w", &told);
        let some = |text: &str| Some(text.to_owned());
        for wrong in [
            Answer { refused: some("and yet"), ..good.clone() },
            Answer { digest: None, ..good.clone() },
            Answer { digest: some("blake3:00"), ..good.clone() },
            Answer { digest: Some(format!("md5:{}", "0".repeat(64))), ..good.clone() },
            Answer { digest: Some(format!("blake3:{}", "+1".repeat(32))), ..good.clone() },
            Answer { magic: some("movie"), ..good.clone() },
            Answer { tail: some("00"), ..good.clone() },
        ] {
            assert!(wrong.told().is_err(), "{wrong:?}");
        }
    }
}
