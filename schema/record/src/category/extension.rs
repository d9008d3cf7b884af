//! Extensions and what they say. Knows names alone.

use super::Category;
use super::Category::{Archive, Code, Document, Music, Other, Photo, Video};

/// What an extension says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// The file is that, whatever is in it.
    Surely(Category),
    /// It is mostly used for that. The first bytes may know better.
    Mostly(Category),
}

/// Longest extension in the table, in bytes.
const LONGEST: usize = 10;

/// What the extension of `name` says; the last two together come before the last.
pub(super) fn says(name: &[u8]) -> Option<Says> {
    // A dot that begins a name hides the file and parts nothing: `.bashrc` has no extension.
    let dot_in = |part: &[u8]| part.iter().rposition(|&byte| byte == b'.').filter(|at| *at > 0);
    let last = dot_in(name)?;
    if let Some(before) = dot_in(&name[..last]) {
        let (inner, double) = (&name[before + 1..last], &name[before + 1..]);
        // Whatever is made of a tape archive is one still: `.tar.br`, `.tar.gpg`, `.tar.001`.
        if inner.eq_ignore_ascii_case(b"tar") && last + 1 < name.len() {
            return Some(Says::Surely(Archive));
        }
        if let Some(says) = lower(double, doubles) {
            return Some(says);
        }
    }
    lower(&name[last + 1..], singles)
}

/// What `table` says of an extension in lower case.
fn lower(extension: &[u8], table: fn(&[u8]) -> Option<Says>) -> Option<Says> {
    if extension.len() > LONGEST {
        return None;
    }
    let mut lower = [0; LONGEST];
    let lower = &mut lower[..extension.len()];
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    table(lower)
}

/// Where the last extension alone would mislead.
fn doubles(extension: &[u8]) -> Option<Says> {
    Some(match extension {
        // TypeScript's declarations, not streams.
        b"d.cts" | b"d.mts" | b"d.ts" => Says::Surely(Code),
        b"7z.001" | b"rar.001" | b"zip.001" => Says::Surely(Archive),
        _ => return None,
    })
}

/// What is not here says nothing: among it what is used for anything (`bin`, `dat`, `key`, `log`, `mod`), and what is set behind
/// another name (`bak`, `part`, `tmp`).
fn singles(extension: &[u8]) -> Option<Says> {
    Some(match extension {
        b"3fr" | b"ai" | b"apng" | b"arw" | b"avif" | b"bmp" | b"cr2" | b"cr3" | b"crw" | b"dcr" | b"dds"
        | b"dng" | b"eps" | b"erf" | b"exr" | b"gif" | b"heic" | b"heif" | b"hif" | b"ico" | b"j2k"
        | b"jfif" | b"jp2" | b"jpe" | b"jpeg" | b"jpg" | b"jxl" | b"kdc" | b"mef" | b"mos" | b"mrw"
        | b"nef" | b"nrw" | b"orf" | b"pbm" | b"pcx" | b"pef" | b"pgm" | b"png" | b"pnm" | b"ppm"
        | b"psb" | b"psd" | b"qoi" | b"raf" | b"rw2" | b"rwl" | b"sr2" | b"srf" | b"srw" | b"svg"
        | b"svgz" | b"tga" | b"tif" | b"tiff" | b"webp" | b"x3f" | b"xbm" | b"xcf" | b"xpm" => {
            Says::Surely(Photo)
        }
        b"3g2" | b"3gp" | b"asf" | b"avi" | b"divx" | b"dv" | b"f4v" | b"flv" | b"m1v" | b"m2ts" | b"m2v"
        | b"m4v" | b"mj2" | b"mkv" | b"mov" | b"mp4" | b"mpe" | b"mpeg" | b"mpg" | b"mpv" | b"mxf"
        | b"ogm" | b"ogv" | b"qt" | b"rm" | b"rmvb" | b"vob" | b"webm" | b"wmv" | b"wtv" => {
            Says::Surely(Video)
        }
        b"aac" | b"aax" | b"ac3" | b"aif" | b"aifc" | b"aiff" | b"alac" | b"amr" | b"ape" | b"au"
        | b"caf" | b"dff" | b"dsf" | b"flac" | b"m4a" | b"m4b" | b"m4p" | b"m4r" | b"mid" | b"midi"
        | b"mka" | b"mp2" | b"mp3" | b"mpc" | b"oga" | b"opus" | b"ra" | b"s3m" | b"snd" | b"spx"
        | b"tta" | b"wav" | b"weba" | b"wma" | b"wv" | b"xm" => Says::Surely(Music),
        b"azw" | b"azw3" | b"bib" | b"csv" | b"djv" | b"djvu" | b"doc" | b"docm" | b"docx" | b"dotx"
        | b"epub" | b"fb2" | b"htm" | b"html" | b"indd" | b"md" | b"mobi" | b"numbers" | b"odf" | b"odg"
        | b"odp" | b"ods" | b"odt" | b"org" | b"pages" | b"pdf" | b"potx" | b"pps" | b"ppsx" | b"ppt"
        | b"pptm" | b"pptx" | b"ps" | b"rst" | b"rtf" | b"srt" | b"tex" | b"tsv" | b"txt" | b"vsd"
        | b"vsdx" | b"vtt" | b"wpd" | b"xhtml" | b"xls" | b"xlsb" | b"xlsm" | b"xlsx" | b"xps" => {
            Says::Surely(Document)
        }
        b"7z" | b"ace" | b"apk" | b"appimage" | b"ar" | b"arj" | b"bz2" | b"cab" | b"cpio" | b"crx"
        | b"deb" | b"dmg" | b"ear" | b"flatpak" | b"gz" | b"img" | b"ipa" | b"iso" | b"jar" | b"lha"
        | b"lz" | b"lz4" | b"lzh" | b"lzma" | b"lzo" | b"msi" | b"msix" | b"nupkg" | b"ova" | b"pkg"
        | b"qcow" | b"qcow2" | b"rar" | b"rpm" | b"rz" | b"sit" | b"sitx" | b"squashfs" | b"tar" | b"tbz"
        | b"tbz2" | b"tgz" | b"tlz" | b"txz" | b"tzst" | b"udf" | b"vdi" | b"vhdx" | b"vmdk" | b"war"
        | b"whl" | b"wim" | b"xar" | b"xpi" | b"xz" | b"z" | b"zip" | b"zipx" | b"zst" => {
            Says::Surely(Archive)
        }
        b"adb" | b"ads" | b"asm" | b"awk" | b"bash" | b"bat" | b"c" | b"cc" | b"cjs" | b"clj" | b"cljs"
        | b"cmake" | b"cmd" | b"coffee" | b"cpp" | b"cs" | b"css" | b"cts" | b"cxx" | b"d" | b"dart"
        | b"diff" | b"el" | b"elm" | b"erl" | b"ex" | b"exs" | b"f" | b"f03" | b"f90" | b"f95" | b"for"
        | b"fs" | b"fsx" | b"gd" | b"glsl" | b"go" | b"gradle" | b"groovy" | b"h" | b"hh" | b"hpp"
        | b"hrl" | b"hs" | b"hxx" | b"inl" | b"ipynb" | b"java" | b"jl" | b"js" | b"json" | b"jsonl"
        | b"jsx" | b"kt" | b"kts" | b"less" | b"lisp" | b"lua" | b"m4" | b"mjs" | b"ml" | b"mli" | b"mm"
        | b"nim" | b"nix" | b"pas" | b"patch" | b"php" | b"phtml" | b"pl" | b"pm" | b"proto" | b"ps1"
        | b"py" | b"pyi" | b"pyx" | b"r" | b"rb" | b"rkt" | b"rs" | b"s" | b"sass" | b"scala" | b"scm"
        | b"scss" | b"sh" | b"sol" | b"sql" | b"styl" | b"sv" | b"svelte" | b"swift" | b"tcl" | b"tf"
        | b"thrift" | b"toml" | b"tsx" | b"v" | b"vala" | b"vb" | b"vert" | b"vim" | b"vue" | b"wat"
        | b"wgsl" | b"xml" | b"xsd" | b"xsl" | b"yaml" | b"yml" | b"zig" | b"zsh" => Says::Surely(Code),
        // Programs, objects, fonts and databases: their first bytes would say no more.
        b"a" | b"class" | b"db" | b"dll" | b"dylib" | b"eot" | b"exe" | b"ko" | b"lib" | b"lock" | b"o"
        | b"obj" | b"otf" | b"pdb" | b"pyc" | b"pyd" | b"pyo" | b"rlib" | b"rmeta" | b"so" | b"sqlite"
        | b"sqlite3" | b"ttc" | b"ttf" | b"wasm" | b"woff" | b"woff2" => Says::Surely(Other),
        // Ogg holds films too.
        b"ogg" => Says::Mostly(Music),
        // Of cameras, or of disks.
        b"raw" => Says::Mostly(Photo),
        // AVCHD of cameras, or TypeScript.
        b"mts" => Says::Mostly(Video),
        // TypeScript, or a broadcast as it came; device trees, or sound; VHDL, or a virtual disk.
        b"dts" | b"ts" | b"vhd" => Says::Mostly(Code),
        _ => return None,
    })
}
