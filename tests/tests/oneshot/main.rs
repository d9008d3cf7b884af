//! `indexer scan --path --output`: rows straight from a walk, in one file or in chunks, each as an independent walk finds the entry; and a
//! scan that is cut off anywhere goes on with no row lost or doubled.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use indexer_tests::{
    Ground, Place, blake3_of, columns_of, done, independent_walk, independent_walk_without, indexer,
    indexer_binary, json_lines, parquet_footer, parquet_rows, python_with, skipped, stderr, wait_for,
};
use serde_json::{Map, Value, json};

type Row = Map<String, Value>;

/// Rows by the bytes of their path.
type Rows = BTreeMap<Vec<u8>, Row>;

/// Names that are easily confused, several levels, a file with two names, links, and many directories.
fn fill(root: &Path, directories: usize) {
    for dir in ["a", "a!", "a.d", "b/c", "b.c"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for name in ["x", "x.TXT", "line\nbreak", "back\\slash", "ü.tar.gz", ".hidden"] {
            fs::write(root.join(dir).join(name), name.repeat(dir.len())).unwrap();
        }
    }
    for name in [b"torn\xff".as_slice(), b"torn\\xff", b"torn\\xff\\", b"torn\\\xfe", b"\xc3", b"\\xc3"] {
        let dir = root.join("b").join(OsStr::from_bytes(name));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("below"), "x").unwrap();
        fs::write(dir.join(OsStr::from_bytes(b"\xfe")), "xy").unwrap();
        fs::write(dir.join(OsStr::from_bytes(b"\\xfe")), "xyz").unwrap();
    }
    fs::hard_link(root.join("a/x"), root.join("b/c/again")).unwrap();
    symlink("a/x", root.join("link.txt")).unwrap();
    symlink("nowhere", root.join("b/nowhere")).unwrap();
    for number in 0..directories {
        let dir = root.join(format!("many/{}/{}/{number}", number % 3, number % 7));
        fs::create_dir_all(&dir).unwrap();
        (0..number % 30).for_each(|file| fs::write(dir.join(format!("{file}.dat")), "").unwrap());
    }
    let deep = root.join("deep").join(["d"; 60].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), "x").unwrap();
}

fn ground(directories: usize) -> Ground {
    let ground = Place::Here.open().unwrap();
    fill(ground.root(), directories);
    ground
}

/// Runs `scan --path ROOT --output OUTPUT …`.
fn scan(ground: &Ground, output: &Path, more: &[&str]) -> Output {
    let root = ground.root();
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"scan", &"--path", &root, &"--output", &output];
    words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
    indexer(&ground.state(), &words)
}

/// The one object that a scan prints.
fn summary(said: &Output) -> Value {
    done(said);
    let lines = json_lines(said);
    assert_eq!(lines.len(), 1);
    lines[0].clone()
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row:?}"))
}

/// The bytes of a row's path, where it has all columns.
fn path_of(row: &Row) -> Vec<u8> {
    let unhex = |text: &str| {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    row["path_raw"].as_str().map_or_else(|| text(row, "path").as_bytes().to_vec(), unhex)
}

/// The rows of a file, which stand in the order of their paths.
fn in_order(file: &Path) -> Vec<Row> {
    let rows = parquet_rows(file);
    for pair in rows.windows(2) {
        assert!(text(&pair[0], "path").as_bytes() < text(&pair[1], "path").as_bytes(), "{pair:?}");
    }
    let (metadata, footer) = parquet_footer(file);
    let sorting = metadata.row_group(0).sorting_columns().unwrap();
    assert_eq!((sorting.len(), sorting[0].column_idx, sorting[0].descending), (1, 0, false));
    assert!(!footer.contains_key("indexer.epoch") && !footer.contains_key("indexer.watermark"), "{footer:?}");
    assert!(!footer["indexer.scan"].is_empty());
    rows
}

/// Adds rows, none of which was there.
fn add(all: &mut Rows, rows: Vec<Row>) {
    for row in rows {
        if let Some(twice) = all.insert(path_of(&row), row) {
            panic!("there twice: {twice:?}");
        }
    }
}

fn manifest_at(output: &Path) -> Option<Value> {
    let name = format!("{}_manifest.json", output.file_stem().unwrap().to_str().unwrap());
    let text = fs::read(output.with_file_name(name)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn chunk(output: &Path, number: usize) -> PathBuf {
    let stem = output.file_stem().unwrap().to_str().unwrap();
    output.with_file_name(format!("{stem}_chunk_{number:04}.parquet"))
}

/// All rows of the chunks that a manifest names, each whole and where it says.
fn in_chunks(output: &Path) -> Rows {
    let manifest = manifest_at(output).unwrap();
    let chunks = manifest["chunks"].as_array().unwrap();
    assert_eq!(manifest["chunk_count"], chunks.len());
    let mut all = Rows::new();
    for (at, told) in chunks.iter().enumerate() {
        let file = chunk(output, at + 1);
        assert_eq!(told["file_path"], file.to_str().unwrap());
        let rows = in_order(&file);
        assert_eq!(told["rows"], rows.len());
        assert_eq!(told["bytes"], file.symlink_metadata().unwrap().len());
        assert_eq!(
            format!("blake3:{}", text(told.as_object().unwrap(), "blake3")),
            blake3_of(&file).unwrap()
        );
        add(&mut all, rows);
    }
    assert_eq!(manifest["total_rows"], all.len());
    all
}

/// Each name once, with all columns, as the walk finds it.
fn check(rows: &Rows, root: &Path) {
    let walk = independent_walk(root);
    let walked: BTreeSet<&Vec<u8>> = walk.keys().collect();
    assert_eq!(rows.keys().collect::<BTreeSet<_>>(), walked);
    let texts: BTreeMap<&str, &Row> = rows.values().map(|row| (text(row, "path"), row)).collect();
    assert_eq!(texts.len(), rows.len(), "two rows of one text");
    for (path, row) in rows {
        let stat = &walk[path];
        for (column, value) in columns_of(stat) {
            assert_eq!(row[column], value, "{column} of {}", path.escape_ascii());
        }
        assert!(row["digest"].is_null() && row["volume"].as_i64().unwrap() > 0);
        assert_eq!(row["category"].is_null(), stat.kind != "file", "{row:?}");
        let told = text(row, "path");
        if told == root.to_str().unwrap() {
            assert_eq!((&row["depth"], text(row, "top_level_dir")), (&json!(0), ""));
            continue;
        }
        // A directory's text is the one that stands before the names in it.
        let (parent, name) = told.rsplit_once('/').unwrap();
        assert_eq!((text(row, "parent_path"), text(row, "name")), (parent, name));
        assert_eq!(row["depth"].as_i64(), texts[parent]["depth"].as_i64().map(|depth| depth + 1));
        assert!(path.starts_with(&path_of(texts[parent])));
    }
}

/// A scan under way.
fn begin(ground: &Ground, output: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(indexer_binary());
    command.arg("--state").arg(ground.state()).arg("scan").arg("-p").arg(ground.root()).arg("-o").arg(output);
    command.env_remove("INDEXER_CONFIG").env("XDG_CONFIG_HOME", ground.state()).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn every_row_is_as_a_walk_finds_the_entry_and_chunks_have_the_same_ones() {
    let ground = ground(60);
    let (one, many) = (ground.beside("one.parquet"), ground.beside("many.parquet"));
    let told = summary(&scan(&ground, &one, &["--compat", "none", "--json", "-t", "3", "-b", "100"]));
    let mut rows = Rows::new();
    add(&mut rows, in_order(&one));
    assert_eq!((&told["rows"], &told["completed"]), (&json!(rows.len()), &json!(true)));
    assert_eq!(told["files"][0]["file_path"], one.to_str().unwrap());
    assert_eq!((&told["files"][0]["rows"], &told["unreadable"]), (&json!(rows.len()), &json!(0)));

    let words = ["--compat", "none", "--incremental", "--rows-per-chunk", "70"];
    done(&scan(&ground, &many, &words));
    let manifest = manifest_at(&many).unwrap();
    assert_eq!(manifest["completed"], true);
    assert_eq!(manifest["finished_directories"], json!([{"path": ground.root()}]));
    assert_eq!(manifest["listed_directories"], json!([]));
    assert!(manifest["chunk_count"].as_u64().unwrap() > 5, "{manifest}");
    assert_eq!(in_chunks(&many), rows);
    // Last, since it reads directories as anybody does, and that moves their access times.
    check(&rows, ground.root());
    // Nothing is left to do, and that is said.
    let again = scan(&ground, &many, &["--compat", "none", "--resume"]);
    done(&again);
    assert!(stderr(&again).contains("complete"), "{}", stderr(&again));
    let refused = scan(&ground, &many, &words);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--resume") && stderr(&refused).contains("--force"));

    let state = fs::read_dir(ground.state()).map(Iterator::count);
    assert!(matches!(state, Err(_) | Ok(0)), "no state is made: {state:?}");
    let left = fs::read_dir(ground.beside("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<OsString> = left.filter(|name| name.as_bytes().starts_with(b".")).collect();
    assert_eq!(left, Vec::<OsString>::new());
}

#[test]
fn its_rows_are_those_of_a_snapshot_in_the_same_order() {
    let ground = ground(20);
    let (one, two) = (ground.beside("one.parquet"), ground.beside("two.parquet"));
    done(&scan(&ground, &one, &["--compat", "none"]));
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    done(&indexer(&ground.state(), &[&"snapshot", &"--output", &two]));
    // Numbers of file systems are the index's own there.
    let told = |file: &Path| {
        let mut rows = parquet_rows(file);
        rows.iter_mut().for_each(|row| assert!(row.remove("volume").is_some()));
        rows
    };
    let (scanned, kept) = (told(&one), told(&two));
    assert_eq!(scanned.len(), kept.len());
    for (scanned, kept) in scanned.iter().zip(&kept) {
        assert_eq!(scanned, kept);
    }
    let moved = scanned.iter().filter(|row| text(row, "path").ends_with('\\')).count();
    assert!(moved >= 3, "escapes that had to make way: {moved}");
}

#[test]
fn by_itself_it_writes_the_eleven_columns() {
    let ground = ground(3);
    let file = ground.beside("x.parquet");
    done(&scan(&ground, &file, &[]));
    let schema = parquet_footer(&file).0.file_metadata().schema_descr_ptr();
    let columns: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    let eleven = "path size modified_time accessed_time created_time file_type inode permissions parent_path depth top_level_dir";
    assert_eq!(columns, eleven.split(' ').collect::<Vec<_>>());
    let rows = in_order(&file);
    assert_eq!(scan(&ground, &file, &[]).status.code(), Some(2), "nothing is written over");
    // The same word as with `snapshot` says so too.
    done(&scan(&ground, &file, &["--compat", "unix", "--force"]));
    assert_eq!(parquet_rows(&file), rows);
    let walk = independent_walk(ground.root());
    assert_eq!(rows.len(), walk.len());
    let mut seen = 0;
    for row in &rows {
        // Names that are no text have no other column here.
        let Some(stat) = walk.get(text(row, "path").as_bytes()) else { continue };
        let seconds = i64::try_from(stat.modified_ns.div_euclid(1_000_000_000)).unwrap();
        assert_eq!((&row["size"], &row["inode"]), (&json!(stat.size), &json!(stat.inode)));
        assert_eq!((&row["modified_time"], &row["permissions"]), (&json!(seconds), &json!(stat.mode)));
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_directory_of_any_size_is_in_one_chunk() {
    let ground = ground(0);
    let large = ground.root().join("large");
    fs::create_dir(&large).unwrap();
    (0..40_000).for_each(|number| fs::write(large.join(format!("{number:0>60}")), "").unwrap());
    let output = ground.beside("x.parquet");
    done(&scan(&ground, &output, &["--compat", "none", "--incremental", "--rows-per-chunk", "100"]));
    let rows = in_chunks(&output);
    let sizes = manifest_at(&output).unwrap()["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| chunk["rows"].as_u64().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(sizes.iter().filter(|rows| **rows > 40_000).count(), 1, "{sizes:?}");
    done(&scan(&ground, &output, &["--compat", "none"]));
    let mut one = Rows::new();
    add(&mut one, in_order(&output));
    assert_eq!(one, rows);
    check(&rows, ground.root());
}

/// The engines that people read such files with, in the versions that were tried.
const ENGINES: [&str; 4] = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1", "chdb==4.4.0"];

#[test]
fn engines_read_one_file_and_all_chunks_as_one_table() {
    let ground = ground(60);
    let packages = ground.beside("packages");
    let python = match python_with(&packages, &ENGINES) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    for columns in ["unix", "none"] {
        let (one, many) = (ground.beside("one.parquet"), ground.beside("many.parquet"));
        done(&scan(&ground, &one, &["--compat", columns, "--force"]));
        let words = ["--compat", columns, "--incremental", "--force", "--rows-per-chunk", "100"];
        done(&scan(&ground, &many, &words));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oneshot/engines.py");
        let manifest = many.with_file_name("many_manifest.json");
        let mut python = Command::new(&python);
        let said = python.arg(script).args([&one, &manifest]).env("PYTHONPATH", &packages).output().unwrap();
        done(&said);
        let told: Value = serde_json::from_slice(&said.stdout).unwrap();
        for engine in ["duckdb", "polars", "pyarrow", "clickhouse"] {
            assert_eq!(
                told[engine],
                json!([parquet_rows(&one).len(), true]),
                "{engine} of {columns}: {told}"
            );
        }
    }
}

#[test]
fn levels_links_and_its_own_files() {
    let ground = ground(20);
    let (root, output) = (ground.root(), ground.beside("x.parquet"));
    let rows = |output: &Path, more: &[&str]| {
        let mut words = vec!["--compat", "none", "--force"];
        words.extend(more);
        done(&scan(&ground, output, &words));
        let mut rows = Rows::new();
        add(&mut rows, in_order(output));
        rows
    };
    let depth = |path: &[u8]| path[root.as_os_str().len()..].iter().filter(|&&byte| byte == b'/').count();
    for most in [0, 1, 2, 5] {
        let told = rows(&output, &["-m", &most.to_string()]);
        let walk = independent_walk(root);
        let wanted: BTreeSet<&Vec<u8>> = walk.keys().filter(|path| depth(path) <= most).collect();
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), wanted, "{most}");
    }

    let told = rows(&output, &["--exclude", "*.dat", "--exclude", "/deep/"]);
    let walk = independent_walk(root);
    let out =
        |path: &[u8]| path.ends_with(b".dat") || path.starts_with(root.join("deep").as_os_str().as_bytes());
    let wanted: BTreeSet<&Vec<u8>> = walk.keys().filter(|path| !out(path)).collect();
    assert_eq!(told.keys().collect::<BTreeSet<_>>(), wanted);

    // What it writes into the tree itself has no row, and nothing else goes missing by that.
    fs::write(root.join("a/inside.parquet"), "another's").unwrap();
    let inside = root.join("inside.parquet");
    let told = rows(&inside, &[]);
    assert_eq!(told.len(), independent_walk_without(root, &[&inside]).len());
    assert!(told.contains_key(root.join("a/inside.parquet").as_os_str().as_bytes()));
    fs::remove_file(&inside).unwrap();
    done(&scan(&ground, &inside, &["--compat", "none", "--incremental", "--rows-per-chunk", "30"]));
    let chunked = in_chunks(&inside);
    assert_eq!(chunked.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    for entry in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().as_bytes().starts_with(b"inside_") {
            fs::remove_file(entry).unwrap();
        }
    }

    // Links: out of the tree once, however many lead there, and never in circles.
    let other = ground.beside("other");
    fs::create_dir_all(other.join("sub")).unwrap();
    fs::write(other.join("sub/file"), "out").unwrap();
    symlink(root, other.join("back")).unwrap();
    symlink(&other, other.join("sub/self")).unwrap();
    for name in ["first", "second"] {
        symlink(&other, root.join(name)).unwrap();
    }
    symlink(root, root.join("b/circle")).unwrap();
    symlink(other.join("sub"), root.join("third")).unwrap();
    let plain = rows(&output, &[]);
    check(&plain, root);
    let followed = rows(&output, &["-f"]);
    let of = |name: &str| root.join(name).as_os_str().as_bytes().to_vec();
    for (name, kind) in [
        ("first", "directory"),
        ("first/sub", "directory"),
        ("first/sub/file", "file"),
        ("first/back", "symlink"),
        ("first/sub/self", "symlink"),
        ("second", "symlink"),
        ("third", "symlink"),
        ("b/circle", "symlink"),
    ] {
        assert_eq!(followed.get(&of(name)).map(|row| text(row, "kind")), Some(kind), "{name}");
    }
    assert_eq!(followed.len(), plain.len() + 4);
    let directories = followed.values().filter(|row| row["kind"] == "directory");
    let inodes: Vec<&Value> = directories.map(|row| &row["inode"]).collect();
    assert_eq!(inodes.len(), inodes.iter().map(|inode| inode.to_string()).collect::<BTreeSet<_>>().len());
    done(&scan(&ground, &output, &["--compat", "none", "--incremental", "-f", "--rows-per-chunk", "25"]));
    assert_eq!(in_chunks(&output), followed);
}

#[test]
fn what_changes_between_two_runs_is_taken_as_it_is_found() {
    let ground = ground(150);
    let words = ["--compat", "none", "--resume", "--rows-per-chunk", "30", "-t", "1"];
    // On a busy machine it may be over before it is killed: then once more, into other files.
    let cut_off = |output: PathBuf| {
        let mut child = begin(&ground, &output, &words);
        wait_for("two chunks", || chunk(&output, 2).is_file().then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        let manifest = manifest_at(&output).unwrap();
        (manifest["completed"] == false).then_some((output, manifest))
    };
    let mut attempts = (0..20).map(|nth| ground.beside(&format!("{nth}.parquet")));
    let (output, manifest) = attempts.find_map(cut_off).unwrap();
    let before = in_chunks(&output);
    // A directory whose listing is in a chunk gets another one, which nobody has listed.
    let listed = manifest["listed_directories"][0]["path"].as_str().unwrap();
    let new = Path::new(listed).join("new directory");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("file"), "x").unwrap();
    fs::write(Path::new(listed).join("new file"), "x").unwrap();
    done(&scan(&ground, &output, &words));
    let all = in_chunks(&output);
    let has = |path: &Path| all.contains_key(path.as_os_str().as_bytes());
    assert!(has(&new) && has(&new.join("file")), "what lies in no chunk is listed with itself");
    assert!(!has(&Path::new(listed).join("new file")), "what is written is not revised");
    assert!(before.iter().all(|(path, row)| all.get(path) == Some(row)));
}
