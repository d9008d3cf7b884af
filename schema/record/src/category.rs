//! What sort of thing a file is, by the extension of its name.

/// A coarse sort of content, for reports and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Still pictures.
    Photo,
    /// Moving pictures.
    Video,
    /// Sound.
    Music,
    /// Texts, tables, slides, books.
    Document,
    /// Packed and compressed files, disk images.
    Archive,
    /// Program sources.
    Code,
    /// Everything else.
    Other,
}

/// Longest extension in the table, in bytes.
const LONGEST: usize = 8;

impl Category {
    /// The category of a file called `name`.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Category {
        let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return Category::Other };
        let extension = &name[dot + 1..];
        // `.bashrc` has no extension; nothing in the table is longer than LONGEST.
        if dot == 0 || extension.is_empty() || extension.len() > LONGEST {
            return Category::Other;
        }
        let mut lower = [0; LONGEST];
        let lower = &mut lower[..extension.len()];
        lower.copy_from_slice(extension);
        lower.make_ascii_lowercase();
        match &*lower {
            b"jpg" | b"jpeg" | b"png" | b"gif" | b"webp" | b"heic" | b"heif" | b"avif" | b"tif" | b"tiff"
            | b"bmp" | b"svg" | b"psd" | b"xcf" | b"ico" | b"jxl" | b"raw" | b"cr2" | b"cr3" | b"nef"
            | b"arw" | b"dng" | b"orf" | b"rw2" | b"raf" => Category::Photo,
            b"mp4" | b"mkv" | b"avi" | b"mov" | b"webm" | b"m4v" | b"wmv" | b"flv" | b"mpg" | b"mpeg"
            | b"m2ts" | b"mts" | b"vob" | b"3gp" | b"ogv" => Category::Video,
            b"mp3" | b"flac" | b"ogg" | b"opus" | b"m4a" | b"aac" | b"wav" | b"wma" | b"aiff" | b"aif"
            | b"ape" | b"alac" | b"mid" | b"midi" | b"dsf" => Category::Music,
            b"pdf" | b"doc" | b"docx" | b"odt" | b"rtf" | b"txt" | b"md" | b"xls" | b"xlsx" | b"ods"
            | b"csv" | b"tsv" | b"ppt" | b"pptx" | b"odp" | b"epub" | b"mobi" | b"azw3" | b"djvu"
            | b"tex" | b"ps" | b"htm" | b"html" => Category::Document,
            b"zip" | b"tar" | b"gz" | b"tgz" | b"bz2" | b"tbz2" | b"xz" | b"txz" | b"zst" | b"lz4"
            | b"7z" | b"rar" | b"iso" | b"img" | b"dmg" | b"deb" | b"rpm" | b"jar" | b"cab" | b"lzma"
            | b"qcow2" | b"vmdk" | b"vdi" => Category::Archive,
            b"rs" | b"c" | b"h" | b"cc" | b"cpp" | b"cxx" | b"hpp" | b"py" | b"js" | b"mjs" | b"ts"
            | b"tsx" | b"jsx" | b"go" | b"java" | b"kt" | b"rb" | b"php" | b"pl" | b"pm" | b"sh"
            | b"bash" | b"zsh" | b"cs" | b"swift" | b"scala" | b"hs" | b"ml" | b"lua" | b"r" | b"jl"
            | b"sql" | b"css" | b"scss" | b"vue" | b"svelte" | b"f90" | b"asm" | b"s" | b"el" | b"lisp"
            | b"clj" | b"ex" | b"exs" | b"erl" | b"zig" | b"nim" | b"d" | b"json" | b"toml" | b"yaml"
            | b"yml" | b"xml" => Category::Code,
            _ => Category::Other,
        }
    }

    /// The word used in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Category::Photo => "photo",
            Category::Video => "video",
            Category::Music => "music",
            Category::Document => "document",
            Category::Archive => "archive",
            Category::Code => "code",
            Category::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_decides_and_case_does_not() {
        for (name, category) in [
            (&b"IMG_0001.JPG"[..], Category::Photo),
            (b"film.mkv", Category::Video),
            (b"a.tar.gz", Category::Archive),
            (b"song.FLAC", Category::Music),
            (b"thesis.pdf", Category::Document),
            (b"main.rs", Category::Code),
            (b".bashrc", Category::Other),
            (b"README", Category::Other),
            (b"ends.", Category::Other),
            (b"x.averylongextension", Category::Other),
            (b"\xff\xfe.mp3", Category::Music),
        ] {
            assert_eq!(Category::of_name(name), category, "{}", String::from_utf8_lossy(name));
        }
    }
}
