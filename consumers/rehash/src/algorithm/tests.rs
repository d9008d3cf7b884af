//! Reference vectors, and zeros.

use blake3::hazmat::HasherExt;

use super::*;

/// The input of BLAKE3's test vectors: 0, 1, …, 250, 0, 1, …
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn hash(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm, false);
    hasher.update(bytes);
    hex(&hasher.finish())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `test_vectors/test_vectors.json` of BLAKE3-team/BLAKE3, the first 32 bytes of `hash`.
#[test]
fn blake3_hashes_as_published() {
    for (length, expected) in [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (1_023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"),
        (1_024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
        (1_025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
        (4_096, "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969"),
        (8_193, "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b"),
        (31_744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"),
        (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
    ] {
        assert_eq!(hash(Algorithm::Blake3, &pattern(length)), expected, "{length} bytes");
    }
}

/// `hashlib.blake2b(bytes, digest_size=32).hexdigest()` of CPython 3, of the same inputs and of `abc`.
#[test]
fn blake2b_hashes_as_python_does() {
    for (length, expected) in [
        (0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"),
        (1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"),
        (128, "c3582f71ebb2be66fa5dd750f80baae97554f3b015663c8be377cfcb2488c1d1"),
        (129, "f7f3c46ba2564ff4c4c162da1f5b605f9f1c4aa6a20652a9f9a337c1a2f5b9c9"),
        (1_024, "d75edc54bb5acee4cc8610568e82872ce79758afd38c51dfe6ccfab01c2d191f"),
        (4_097, "615e89d4794280669cf1c7d4a8a5fcb8c97652bf82964fdb2c89d0a9d6146fa8"),
        (1 << 20, "8a5a7a9dc3cf203ed374b0a1eea930601ad2acbfe2b4bc62cf83de4ee536528b"),
    ] {
        assert_eq!(hash(Algorithm::Blake2b256, &pattern(length)), expected, "{length} bytes");
    }
    let abc = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
    assert_eq!(hash(Algorithm::Blake2b256, b"abc"), abc);
}

#[test]
fn all_cores_and_pieces_and_zeros_make_no_difference() {
    let mut plain = pattern(3_000_001);
    plain.extend_from_slice(&[0; 2_500_000]);
    plain.extend_from_slice(&pattern(7));
    for algorithm in Algorithm::ALL {
        for parallel in [false, true] {
            let mut hasher = Hasher::new(algorithm, parallel);
            pattern(3_000_001).chunks(999_983).for_each(|piece| hasher.update(piece));
            hasher.update_zeros(2_500_000);
            hasher.update(&pattern(7));
            assert_eq!(hex(&hasher.finish()), hash(algorithm, &plain), "{algorithm:?} {parallel}");
        }
    }
}

/// Why a long hole takes as long to hash as data: were these equal, subtrees of zeros could be kept by their size.
#[test]
fn chunks_of_zeros_differ_by_their_place() {
    let chunk = |number: u64| {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(number * blake3::CHUNK_LEN as u64);
        hasher.update(&[0; blake3::CHUNK_LEN]).finalize_non_root()
    };
    assert_ne!(chunk(1), chunk(2));
}

#[test]
fn words_name_the_kinds() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_word(algorithm.word()), Some(algorithm));
    }
    assert_eq!(Algorithm::from_word("blake2b-256"), Some(Algorithm::Blake2b256));
    assert_eq!(Algorithm::from_word("blake3-sampled"), None);
}
