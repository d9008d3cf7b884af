//! Names and first bytes, one by one; and any others, which must do no harm.

use proptest::prelude::*;

use super::Category::{self, Archive, Code, Document, Music, Other, Photo, Video};

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn the_last_extension_decides_and_case_does_not() {
    for (name, category) in [
        (&b"IMG_0001.JPG"[..], Some(Photo)),
        (b"_DSC1.Nef", Some(Photo)),
        (b"film.mkv", Some(Video)),
        (b"00001.M2TS", Some(Video)),
        (b"song.FLAC", Some(Music)),
        (b"thesis.pdf", Some(Document)),
        (b"a.pdf.zip", Some(Archive)),
        (b"a.zip.pdf", Some(Document)),
        (b"main.rs", Some(Code)),
        (b"libc.so", Some(Other)),
        (b"\xff\xfe.mp3", Some(Music)),
        (b".hidden.png", Some(Photo)),
        (b"a b\n.png", Some(Photo)),
        (b".bashrc", None),
        (b"..png", Some(Photo)),
        (b"README", None),
        (b"ends.", None),
        (b".", None),
        (b"..", None),
        (b"", None),
        (b"x.averylongextensionthatisnone", None),
        (b"film.mkv.part", None),
        (b"photo.jpg~", None),
        (b"data.bin", None),
    ] {
        assert_eq!(Category::by_extension(name), category, "{}", show(name));
    }
}

#[test]
fn two_extensions_may_say_what_one_does_not() {
    for (name, category) in [
        (&b"a.tar.gz"[..], Some(Archive)),
        (b"a.TAR.Br", Some(Archive)),
        (b"a.tar.gpg", Some(Archive)),
        (b"a.tar.001", Some(Archive)),
        (b"a.gpg", None),
        (b"a.7z.001", Some(Archive)),
        (b"a.001", None),
        (b"index.d.mts", Some(Code)),
        (b"00001.mts", Some(Video)),
        (b"index.d.ts", Some(Code)),
        // The first dot of a hidden file parts nothing.
        (b".tar.gpg", None),
        (b".d.mts", Some(Video)),
        (b"a.tar.", None),
    ] {
        assert_eq!(Category::by_extension(name), category, "{}", show(name));
    }
}

#[test]
fn what_is_in_a_file_counts_where_its_name_leaves_room() {
    let of = |name: &[u8], magic| Category::of(Some(name), magic);
    assert_eq!(of(b"README", None), Other);
    assert_eq!(of(b"README", Some(Other)), Other);
    assert_eq!(of(b"IMG_1", Some(Photo)), Photo);
    assert_eq!(of(b"film.part", Some(Video)), Video);
    assert_eq!(of(b"a.txt", Some(Photo)), Document, "the extension says so");
    assert_eq!(of(b"a.exe", Some(Archive)), Other, "this one too");
    assert_eq!(of(b"a.ts", None), Code);
    assert_eq!(of(b"a.ts", Some(Other)), Code, "its bytes are nothing known");
    assert_eq!(of(b"a.ts", Some(Video)), Video, "two meanings, and the bytes know");
    assert_eq!(of(b"a.d.ts", Some(Video)), Code);
    assert_eq!(of(b"a.ogg", Some(Video)), Video);
    assert_eq!(Category::of(None, None), Other);
    assert_eq!(Category::of(None, Some(Music)), Music);
    for (name, needs) in
        [(&b"a"[..], true), (b"a.ts", true), (b"a.bin", true), (b"a.jpg", false), (b"a.so", false)]
    {
        assert_eq!(Category::needs_magic(name), needs, "{}", show(name));
    }
}

#[test]
fn numbers_and_words_are_as_stored_and_written() {
    let words = ["photo", "video", "music", "document", "archive", "code", "other"];
    for (nth, (category, word)) in Category::ALL.into_iter().zip(words).enumerate() {
        assert_eq!(category as usize, nth);
        assert_eq!((category.word(), Category::from_word(word)), (word, Some(category)));
    }
    assert_eq!(Category::from_word("Photo"), None);
}

/// `bytes` at `offset`, behind what no format begins by.
fn behind(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![b'.'; offset];
    head.extend_from_slice(bytes);
    head
}

/// The first page of an Ogg stream.
fn ogg(packet: &[u8]) -> Vec<u8> {
    let mut head = b"OggS\0\x02".to_vec();
    head.extend([0; 22]);
    head.extend_from_slice(packet);
    head
}

/// A zip archive whose first file is called `name`, stored, and holds `content`.
fn zip(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut head = b"PK\x03\x04\x14\0\0\0\0\0".to_vec();
    head.extend([0; 16]);
    head.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    head.extend([0; 2]);
    head.extend_from_slice(name);
    head.extend_from_slice(content);
    head
}

/// `count` packets that begin by `sync`, `every` bytes apart, the first at `from`.
fn packets(sync: &[u8], from: usize, every: usize, count: usize) -> Vec<u8> {
    let mut head = vec![0xaa; from + count * every];
    for nth in 0..count {
        head[from + nth * every..][..sync.len()].copy_from_slice(sync);
    }
    head
}

fn heads() -> Vec<(Vec<u8>, Option<Category>)> {
    let told = |head: &[u8], category| (head.to_vec(), category);
    vec![
        told(b"\xff\xd8\xff\xe0\0\x10JFIF\0", Some(Photo)),
        told(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some(Photo)),
        told(b"II*\0\x10\0\0\0CR\x02\0", Some(Photo)),
        told(b"RIFF\x24\0\0\0WEBPVP8 ", Some(Photo)),
        told(b"\0\0\0\x18ftypheic\0\0\0\0", Some(Photo)),
        told(b"\0\0\0\x18ftypcrx \0\0\0\x01", Some(Photo)),
        told(b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Some(Photo)),
        told(b"P6\n10 10\n255\n", Some(Photo)),
        told(b"<svg xmlns=\"http://www.w3.org/2000/svg\">", Some(Photo)),
        told(b"<?xml version=\"1.0\"?>\n<!-- a -->\n<svg width=\"1\">", Some(Photo)),
        told(b"\0\0\0\x20ftypisom\0\0\x02\0", Some(Video)),
        told(b"\0\0\0\x14ftypqt  ", Some(Video)),
        told(b"\0\0\0\x08wide\0\0\x10\0mdat", Some(Video)),
        told(b"RIFF\x24\0\0\0AVI LIST", Some(Video)),
        told(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", Some(Video)),
        told(b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska", Some(Video)),
        told(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01", None),
        (ogg(b"\x80theora\x03\x02\x01"), Some(Video)),
        (packets(b"\x47", 0, 188, 3), Some(Video)),
        (packets(b"\x47", 4, 192, 3), Some(Video)),
        (packets(b"\x47", 0, 188, 2), None),
        told(b"\0\0\x01\xba\x44\0\x04", Some(Video)),
        (ogg(b"\x01vorbis"), Some(Music)),
        (ogg(b"OpusHead\x01"), Some(Music)),
        told(b"fLaC\0\0\0\x22", Some(Music)),
        told(b"ID3\x03\0\0\0\0\x0f\x76", Some(Music)),
        told(b"\0\0\0\x20ftypM4A \0\0\0\0", Some(Music)),
        told(b"RIFF\x24\0\0\0WAVEfmt ", Some(Music)),
        told(b"FORM\0\0\0\x24AIFFCOMM", Some(Music)),
        // 128 kbit/s at 44.1 kHz: frames of 417 bytes.
        (packets(b"\xff\xfb\x90\x64", 0, 417, 2), Some(Music)),
        (packets(b"\xff\xfb\x90\x64", 0, 400, 2), None),
        told(b"\xff\xfb\xe0\x64", Some(Music)),
        told(b"\xff\xfb\xf0\x64", None),
        told(b"\xff\xfeH\0e\0l\0l\0o\0", None),
        told(b"%PDF-1.7\n", Some(Document)),
        told(b"%!PS-Adobe-3.0\n", Some(Document)),
        told(b"{\\rtf1\\ansi", Some(Document)),
        told(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", Some(Document)),
        told(b"\n <!DOCTYPE HTML>\n<html>", Some(Document)),
        told(b"\xef\xbb\xbf<html lang=en>", Some(Document)),
        told(b"<?xml version=\"1.0\"?><html xmlns=", Some(Document)),
        (zip(b"[Content_Types].xml", b"..."), Some(Document)),
        (zip(b"mimetype", b"application/epub+zip"), Some(Document)),
        (zip(b"mimetype", b"application/vnd.oasis.opendocument.text"), Some(Document)),
        (zip(b"mimetype", b"image/openraster"), Some(Archive)),
        (zip(b"a.txt", b"hello"), Some(Archive)),
        (behind(60, b"BOOKMOBI"), Some(Document)),
        told(b"PK\x05\x06\0\0", Some(Archive)),
        told(b"\x1f\x8b\x08\0", Some(Archive)),
        told(b"BZh91AY&SY", Some(Archive)),
        told(b"BZh9 is a name", None),
        (behind(257, b"ustar\x0000"), Some(Archive)),
        (behind(257, b"ustar  \0"), Some(Archive)),
        told(b"!<arch>\ndebian-binary   ", Some(Archive)),
        told(b"!<arch>\nfoo.o/          ", None),
        told(b"#!/bin/sh\n", Some(Code)),
        told(b"#! /usr/bin/env python3\n", Some(Code)),
        told(b"#!AMR\n", Some(Music)),
        told(b"#!nothing\n", None),
        told(b"<?php\n", Some(Code)),
        told(b"<?xml version=\"1.0\"?><project>", Some(Code)),
        told(b"BMW makes cars\n", None),
        told(b"Dear reader,\n", None),
        told(b"The free lunch of moov and ftyp\n", None),
        told(b"\x7fELF\x02\x01\x01", None),
        told(b"MZ\x90\0", None),
        told(b"SQLite format 3\0", None),
        told(b"\x78\x01\x4b\xca", None),
        told(&[0; 512], None),
        told(b"", None),
    ]
}

#[test]
fn the_first_bytes_tell_the_formats_apart() {
    for (head, category) in heads() {
        assert_eq!(Category::by_magic(&head), category, "{}", show(&head));
        let mut long = head.clone();
        long.resize(Category::HEAD.max(head.len()), 0);
        long.extend(std::iter::repeat_n(b'%', 4096));
        let same = Category::by_magic(&long[..Category::HEAD]);
        assert_eq!(
            Category::by_magic(&long),
            same,
            "bytes beyond the head count for nothing: {}",
            show(&head)
        );
    }
}

proptest! {
    #[test]
    fn any_name_and_any_bytes_have_an_answer(
        name in prop::collection::vec(prop_oneof![Just(b'.'), Just(b't'), Just(b's'), any::<u8>()], 0..40),
        head in prop::collection::vec(any::<u8>(), 0..1024),
    ) {
        let magic = Category::by_magic(&head);
        let category = Category::of(Some(&name), magic);
        if let Some(said) = Category::by_extension(&name).filter(|_| !Category::needs_magic(&name)) {
            prop_assert_eq!(category, said);
        }
        prop_assert_eq!(Category::by_extension(&name.to_ascii_uppercase()), Category::by_extension(&name));
    }

    /// A format's beginning, cut short or damaged, gets deeper than noise.
    #[test]
    fn damaged_heads_have_an_answer(
        nth in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let heads = heads();
        let mut head = heads[nth.index(heads.len())].0.clone();
        for (at, value) in damage {
            let length = head.len();
            if length > 0 {
                head[at.index(length)] = value;
            }
        }
        head.truncate(cut.index(head.len() + 1));
        let said = Category::by_magic(&head);
        prop_assert_ne!(said, Some(Other), "what is not known is not said");
        prop_assert_eq!(Category::of(None, said), said.unwrap_or(Other));
    }
}
