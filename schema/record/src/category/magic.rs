//! The first bytes of formats that are worth knowing without an extension. Takes any bytes, and has no answer for most.
//!
//! What begins by so little that other bytes begin so too has a second condition, or is not here.

use super::Category;
use super::Category::{Archive, Code, Document, Music, Photo, Video};

/// Enough for three packets of a transport stream, and for the mark of a tape archive.
pub(super) const HEAD: usize = 512;

/// What `head` is the beginning of.
pub(super) fn says(head: &[u8]) -> Option<Category> {
    let fixed =
        FIXED.iter().find(|(offset, bytes, _)| at(head, *offset, bytes)).map(|(.., category)| *category);
    fixed.or_else(|| chunks(head)).or_else(|| boxes(head)).or_else(|| streams(head)).or_else(|| text(head))
}

/// Where, what, and what that makes it.
const FIXED: [(usize, &[u8], Category); 75] = [
    (0, b"\xff\xd8\xff", Photo),
    (0, b"\x89PNG\r\n\x1a\n", Photo),
    (0, b"GIF87a", Photo),
    (0, b"GIF89a", Photo),
    // TIFF and the raw formats built on it.
    (0, b"II*\0", Photo),
    (0, b"MM\0*", Photo),
    (0, b"II+\0", Photo),
    (0, b"MM\0+", Photo),
    (0, b"IIU\0", Photo),
    (0, b"IIRO", Photo),
    (0, b"IIRS", Photo),
    (0, b"FUJIFILMCCD-RAW", Photo),
    (0, b"8BPS\0", Photo),
    (0, b"gimp xcf ", Photo),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", Photo),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", Photo),
    (0, b"\x76\x2f\x31\x01", Photo),
    (0, b"qoif", Photo),
    (0, b"FLV\x01", Video),
    (0, b"\0\0\x01\xba", Video),
    (0, b"\0\0\x01\xb3", Video),
    (0, b".RMF\0", Video),
    // ASF: sound alone looks the same.
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c", Video),
    (0, b"ID3\x02", Music),
    (0, b"ID3\x03", Music),
    (0, b"ID3\x04", Music),
    (0, b"fLaC", Music),
    (0, b"MThd\0\0\0\x06", Music),
    (0, b"MAC ", Music),
    (0, b"wvPk", Music),
    (0, b"MPCK", Music),
    (0, b"TTA1", Music),
    (0, b"DSD \x1c\0\0\0", Music),
    (0, b"FRM8\0", Music),
    (0, b"caff\0\x01", Music),
    (0, b".snd\0", Music),
    (0, b"#!AMR", Music),
    (0, b"\x7f\xfe\x80\x01", Music),
    (0, b"%PDF-", Document),
    (0, b"\xef\xbb\xbf%PDF-", Document),
    (0, b"%!PS-Adobe", Document),
    (0, b"{\\rtf1", Document),
    // The old formats of Microsoft's office programs.
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Document),
    (0, b"AT&TFORM", Document),
    (0, b"ITSF\x03\0\0\0", Document),
    (60, b"BOOKMOBI", Document),
    (0, b"PK\x05\x06", Archive),
    (0, b"PK\x07\x08", Archive),
    (0, b"\x1f\x8b\x08", Archive),
    (0, b"\xfd7zXZ\0", Archive),
    (0, b"\x28\xb5\x2f\xfd", Archive),
    (0, b"\x04\x22\x4d\x18", Archive),
    (0, b"\x89LZO\0\r\n\x1a\n", Archive),
    (0, b"LZIP\x01", Archive),
    (0, b"7z\xbc\xaf\x27\x1c", Archive),
    (0, b"Rar!\x1a\x07", Archive),
    (0, b"MSCF\0\0\0\0", Archive),
    (0, b"xar!\0", Archive),
    (0, b"\xed\xab\xee\xdb", Archive),
    (0, b"!<arch>\ndebian-binary", Archive),
    (0, b"070701", Archive),
    (0, b"070702", Archive),
    (0, b"070707", Archive),
    (2, b"-lh5-", Archive),
    (257, b"ustar\0", Archive),
    (257, b"ustar  \0", Archive),
    (0, b"hsqs", Archive),
    (0, b"QFI\xfb", Archive),
    (0, b"KDMV\x01\0\0\0", Archive),
    (0, b"conectix", Archive),
    (0, b"vhdxfile", Archive),
    (64, b"\x7f\x10\xda\xbe", Archive),
    (0, b"MSWIM\0\0\0", Archive),
    (0, b"<?php", Code),
    (0, b"diff --git ", Code),
];

/// Formats in chunks: a general mark, and which sort further on.
fn chunks(head: &[u8]) -> Option<Category> {
    match head.get(..4)? {
        b"RIFF" | b"RF64" => match head.get(8..12)? {
            b"WAVE" | b"RMID" => Some(Music),
            b"AVI " => Some(Video),
            b"WEBP" => Some(Photo),
            _ => None,
        },
        b"FORM" => match head.get(8..12)? {
            b"AIFF" | b"AIFC" | b"8SVX" => Some(Music),
            b"ILBM" => Some(Photo),
            _ => None,
        },
        b"OggS" => Some(if contains(head, b"\x80theora") { Video } else { Music }),
        // Matroska; sound alone looks the same.
        b"\x1a\x45\xdf\xa3" => (contains(head, b"webm") || contains(head, b"matroska")).then_some(Video),
        b"PK\x03\x04" => Some(zip(head)),
        [b'B', b'Z', b'h', b'1'..=b'9'] => at(head, 4, b"1AY&SY").then_some(Archive),
        _ => None,
    }
}

/// Documents in an archive: the first file in it tells, by the rule of their formats or by habit.
fn zip(head: &[u8]) -> Category {
    let first = head.get(30..).unwrap_or_default();
    let office = [
        &b"mimetypeapplication/vnd.oasis"[..],
        b"mimetypeapplication/epub",
        b"[Content_Types].xml",
        b"_rels/",
    ];
    if office.iter().any(|name| first.starts_with(name)) { Document } else { Archive }
}

/// ISO base media and QuickTime: a length, then what the box is. The length keeps text out: it is below 16 MiB.
fn boxes(head: &[u8]) -> Option<Category> {
    if head.first() != Some(&0) {
        return None;
    }
    match head.get(4..8)? {
        b"ftyp" => match head.get(8..12)? {
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" | b"avif"
            | b"avis" | b"crx " => Some(Photo),
            b"M4A " | b"M4B " | b"M4P " | b"F4A " | b"F4B " => Some(Music),
            _ => Some(Video),
        },
        b"moov" | b"mdat" | b"wide" => Some(Video),
        _ => None,
    }
}

/// Formats without a beginning: only what repeats gives them away.
fn streams(head: &[u8]) -> Option<Category> {
    // Packets of 188 bytes, each behind a time of four in what Blu-ray discs and cameras write.
    let packets = |from: usize, every: usize| (0..3).all(|nth| head.get(from + nth * every) == Some(&0x47));
    if packets(0, 188) || packets(4, 192) {
        return Some(Video);
    }
    mp3_frames(head).then_some(Music)
}

/// Whether a frame of MPEG layer III stands here, and another behind it where that can be seen.
fn mp3_frames(head: &[u8]) -> bool {
    const RATES_1: [usize; 16] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0];
    const RATES_2: [usize; 16] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0];
    let length = |bytes: &[u8]| -> Option<usize> {
        let &[0xff, second, third, _] = bytes.get(..4)? else { return None };
        let (version, rate, clock) = (second >> 3 & 3, usize::from(third >> 4), usize::from(third >> 2 & 3));
        if second & 0xe6 != 0xe2 || version == 1 {
            return None;
        }
        let hertz = *[44_100, 48_000, 32_000].get(clock)? >> [2, 0, 1, 0][usize::from(version)];
        let (kilobits, samples) = if version == 3 { (RATES_1[rate], 144) } else { (RATES_2[rate], 72) };
        (kilobits > 0).then(|| samples * 1000 * kilobits / hertz + usize::from(third >> 1 & 1))
    };
    match length(head) {
        None => false,
        Some(first) => head.len() < first + 4 || length(&head[first..]).is_some(),
    }
}

/// What text says of itself. Plain text says nothing.
fn text(head: &[u8]) -> Option<Category> {
    if let Some(rest) = head.strip_prefix(b"#!") {
        return rest.trim_ascii_start().starts_with(b"/").then_some(Code);
    }
    if head.starts_with(b"BM") {
        return bitmap(head).then_some(Photo);
    }
    if let [b'P', b'4'..=b'6', b'\n', b'0'..=b'9' | b'#', ..] = head {
        return Some(Photo);
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |with: &[u8]| head.get(..with.len()).is_some_and(|here| here.eq_ignore_ascii_case(with));
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(Document);
    }
    if begins(b"<svg") {
        return Some(Photo);
    }
    begins(b"<?xml").then(|| {
        if contains(head, b"<svg") {
            Photo
        } else if contains(head, b"<html") || contains(head, b"<FictionBook") {
            Document
        } else {
            Code
        }
    })
}

/// A Windows bitmap: two bytes alone would take in any text on cars from Munich.
fn bitmap(head: &[u8]) -> bool {
    at(head, 6, &[0; 4]) && [12, 40, 52, 56, 64, 108, 124].iter().any(|&size| at(head, 14, &[size, 0, 0, 0]))
}

fn at(head: &[u8], offset: usize, bytes: &[u8]) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(bytes))
}

fn contains(head: &[u8], bytes: &[u8]) -> bool {
    head.windows(bytes.len()).any(|window| window == bytes)
}
