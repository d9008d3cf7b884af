//! What a reading gives of an undisturbed file.

use std::ops::ControlFlow;

use record::{Category, Digest, DigestKind};
use rehash::{
    Ahead, Algorithm, Depth, How, SAMPLED_OVER, Stamp, TAIL_OVER, TOKEN_BYTES, Token, WINDOW, head, tail,
};

use crate::support::{REAL, file_of, go, noise, plain, read, stat, ways};

const TOKEN: usize = TOKEN_BYTES as usize;

#[test]
fn files_of_all_lengths_hash_as_their_bytes() {
    let mib = 1 << 20;
    let tail_over = TAIL_OVER as usize;
    let bytes = noise(9 * mib + 1);
    let small = [0, 1, TOKEN - 1, TOKEN, TOKEN + 1, tail_over, tail_over + 1];
    let large = [mib - 1, mib, mib + 1, 2 * mib + 3, 4 * mib, 9 * mib + 1];
    for length in small.into_iter().chain(large) {
        let bytes = &bytes[..length];
        let file = file_of(bytes);
        let stamp = Stamp::of(&stat(&file).expect("a look"));
        let first = Token::of(&bytes[..length.min(TOKEN)]);
        let last = Token::of(&bytes[length.saturating_sub(TOKEN)..]);
        for how in ways() {
            let content = read(&file, how).expect("it is read");
            assert_eq!(content.digest, plain(how, bytes), "{length} bytes, {how:?}");
            assert_eq!((content.stamp, content.read), (stamp, length as u64));
            assert_eq!(content.head, first, "{length} bytes");
            assert_eq!(content.tail, (length > tail_over).then_some(last), "{length} bytes");
        }
        let (head, tail) =
            (head(&file, &REAL, &mut go).expect("a head"), tail(&file, &REAL, &mut go).expect("a tail"));
        assert_eq!((head.token, tail.token), (first, last), "{length} bytes");
        assert_eq!((head.stamp, tail.stamp), (stamp, stamp));
        assert_eq!((head.read, tail.read), (length.min(TOKEN) as u64, length.min(TOKEN) as u64));
    }
}

#[test]
fn a_sample_is_of_the_size_and_three_places() {
    let sampled = How { depth: Depth::Sampled, algorithm: Algorithm::Blake2b256, ..How::default() };
    let bytes = noise(SAMPLED_OVER as usize + 5_000);
    let at_most = file_of(&bytes[..SAMPLED_OVER as usize]);
    let whole = read(&at_most, sampled).expect("it is read");
    assert_eq!(whole.digest, plain(sampled, &bytes[..SAMPLED_OVER as usize]));

    let content = read(&file_of(&bytes), sampled).expect("it is read");
    let window = WINDOW as usize;
    let (middle, end) = ((bytes.len() - window) / 2 / 4_096 * 4_096, bytes.len() - window);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    [0, middle, end].iter().for_each(|at| _ = hasher.update(&bytes[*at..at + window]));
    let expected = Digest { kind: DigestKind::Blake3Sampled, bytes: *hasher.finalize().as_bytes() };
    assert_eq!((content.digest, content.read), (expected, 3 * WINDOW));
    assert_eq!(content.head, Token::of(&bytes[..TOKEN]));
    assert_eq!(content.tail, Some(Token::of(&bytes[bytes.len() - TOKEN..])));
}

#[test]
fn first_bytes_say_what_it_is() {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.resize(10_000, 7);
    let file = file_of(&bytes);
    assert_eq!(read(&file, How::default()).expect("it is read").magic, Category::Photo);
    assert_eq!(head(&file, &REAL, &mut go).expect("a head").magic, Some(Category::Photo));
    assert_eq!(tail(&file, &REAL, &mut go).expect("a tail").magic, None);
    assert_eq!(read(&file_of(&[7; 100]), How::default()).expect("it is read").magic, Category::Other);
}

#[test]
fn the_pace_is_asked_for_every_byte() {
    let file = file_of(&noise((5 << 20) + 9));
    for how in ways() {
        let mut asked = Vec::new();
        let mut note = |ahead: Ahead| {
            asked.push(ahead.bytes);
            ControlFlow::Continue(())
        };
        let content = rehash::read(&file, how, &REAL, &mut note).expect("it is read");
        assert_eq!(asked.iter().sum::<u64>(), content.read);
        assert!(asked.iter().all(|bytes| *bytes <= 1 << 20), "{asked:?}");
    }
}
