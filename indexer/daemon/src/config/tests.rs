//! Settings from files, variables and flags: which wins, and what an error names.

use super::*;
use std::path::PathBuf;

const FILE: &str = r#"
roots = ["/srv/a", { path = "b", exclude = ["*.tmp"], max_depth = 3 }, "~/c"]
exclude = ["/cache/"]
backend = "inotify"
profile = "conservative"
cache = "32MiB"
retention = { age = "7d", bytes = "1GiB" }
quiet = "5s"
audit = "0s"
sweep = { stat = "12h", names = "1h", unwatched = "off", rate = 5000 }
require = "swept"
metrics = "127.0.0.1:9187"
log = "json"
"#;

fn parse(text: &str) -> Result<File, String> {
    File::parse(text, Path::new("/etc/indexer.toml"), &|name| (name == "HOME").then(|| "/home/u".into()))
        .map_err(|error| error.to_string())
}

fn no_env(_: &str) -> Option<OsString> {
    None
}

#[test]
fn a_file_sets_everything() {
    let file = parse(FILE).unwrap();
    let paths: Vec<_> = file.roots.iter().map(|root| root.path.clone()).collect();
    assert_eq!(paths, ["/srv/a", "/etc/b", "/home/u/c"].map(PathBuf::from));
    assert_eq!(log_format(&file, &no_env).unwrap(), LogFormat::Json);
    let second = file.root(&file.roots[1], b"/etc/b".to_vec()).unwrap();
    assert_eq!(second.excludes, ["/cache/", "*.tmp"]);
    assert_eq!(second.max_depth, Some(3));

    let settings = Settings::resolve(&file, &no_env, &Watch::default(), 8).unwrap();
    assert_eq!((settings.backend, settings.threads, settings.cache), (Backend::Inotify, 1, 32 << 20));
    assert_eq!(settings.retention, Retention { age: Duration::from_secs(7 * 86_400), bytes: 1 << 30 });
    assert_eq!((settings.quiet, settings.audit), (Duration::from_secs(5), Duration::ZERO));
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let schedule = Schedule { stat: hours(12), names: hours(1), unwatched: None, rate: Some(5000) };
    assert_eq!(settings.schedule, schedule);
    let usual = Settings::resolve(&File::default(), &no_env, &Watch::default(), 8).unwrap();
    assert_eq!(usual.schedule, Schedule::default());
    assert_eq!(settings.require, Require::Swept);
    assert_eq!(settings.metrics.unwrap().to_string(), "127.0.0.1:9187");
}

#[test]
fn flags_are_over_variables_and_those_over_the_file() {
    let file = parse(FILE).unwrap();
    let env = |name: &str| {
        let pairs = [
            ("INDEXER_THREADS", "5"),
            ("INDEXER_BACKEND", "sweep"),
            ("INDEXER_PROFILE", "aggressive"),
            ("INDEXER_SWEEP_STAT", "off"),
            ("INDEXER_SWEEP_RATE", "0"),
            ("INDEXER_REQUIRE", "watched"),
            ("INDEXER_METRICS_LISTEN", "127.0.0.1:2"),
        ];
        pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    let settings = Settings::resolve(&file, &env, &Watch::default(), 8).unwrap();
    assert_eq!((settings.backend, settings.threads, settings.batch), (Backend::Sweep, 5, 16384));
    assert_eq!((settings.schedule.stat, settings.schedule.rate), (None, None));
    assert_eq!(settings.require, Require::Watched);
    assert_eq!(settings.metrics.unwrap().port(), 2);
    let scan = Scan { threads: Some(2), ..Scan::default() };
    let metrics_listen = Some("[::1]:1".parse().unwrap());
    let backend = Some(BackendArg::Fanotify);
    let flags = Watch { backend, metrics_listen, scan, ..Watch::default() };
    let settings = Settings::resolve(&file, &env, &flags, 8).unwrap();
    assert_eq!((settings.backend, settings.threads), (Backend::Fanotify, 2));
    assert_eq!(settings.metrics, metrics_listen);
}

#[test]
fn errors_name_key_file_and_line() {
    for (text, expected) in [
        ("\ncolour = 1", "/etc/indexer.toml, line 2: unknown field `colour`"),
        ("roots = [\n \"/a\",\n { path = \"/b\", depth = 1 } ]", "line 3: unknown field `depth`"),
        ("backend = \"magic\"", "expected auto, fanotify"),
        ("require = \"much\"", "expected watched, swept"),
        ("metrics = \"0.0.0.0:9187\"", "can be reached by other hosts"),
        ("cache = \"many\"", "sizes look like"),
        ("quiet = \"soon\"", "no length of time"),
        ("sweep = { stat = \"1ms\" }", "too often"),
        ("sweep = { stat = \"never\" }", "or off"),
        ("sweep = { hourly = true }", "unknown field `hourly`"),
        ("roots = [1]", "a path, or a table with a path"),
        ("roots = [", "line 1"),
    ] {
        let said = parse(text).unwrap_err();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let env = |name: &str| (name == "INDEXER_CACHE").then(|| OsString::from("lots"));
    let said = Settings::resolve(&File::default(), &env, &Watch::default(), 2).unwrap_err().to_string();
    assert!(said.starts_with("INDEXER_CACHE=lots: "), "{said}");
    let env = |name: &str| (name == "INDEXER_WATCHES").then(|| OsString::from("few"));
    let said = Settings::resolve(&File::default(), &env, &Watch::default(), 2).unwrap_err().to_string();
    assert!(said.starts_with("INDEXER_WATCHES=few: "), "{said}");
}

#[test]
fn the_portable_watcher_and_a_bound_on_watches_can_be_asked_for() {
    let flags = Watch { backend: Some(BackendArg::Notify), ..Watch::default() };
    let file = parse("watches = 100").unwrap();
    let settings = Settings::resolve(&file, &no_env, &flags, 2).unwrap();
    assert_eq!((settings.backend, settings.watches), (Backend::Notify, Some(100)));
    let env = |name: &str| (name == "INDEXER_WATCHES").then(|| OsString::from("7"));
    assert_eq!(Settings::resolve(&file, &env, &flags, 2).unwrap().watches, Some(7));
    assert_eq!(Settings::resolve(&File::default(), &no_env, &flags, 2).unwrap().watches, None);
}

#[test]
fn roots_come_from_flags_or_the_file_or_the_index() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let (a, b) = (top.join("a"), top.join("b"));
    std::fs::create_dir(&a).unwrap();
    std::fs::create_dir(&b).unwrap();
    let text = format!("roots = [{{ path = {a:?}, exclude = [\"x\"] }}]");
    let file = parse(&text).unwrap();
    let of = |paths: &[&Path]| Scan {
        roots: paths.iter().map(|path| path.to_path_buf()).collect(),
        ..Scan::default()
    };
    let only = |path: &Path, excludes: &[&str]| RootConfig {
        path: crate::paths::bytes(path),
        excludes: excludes.iter().map(|&word| word.to_owned()).collect(),
        ignore_file: None,
        max_depth: None,
        one_file_system: false,
        follow_symlinks: false,
    };

    assert_eq!(roots(&file, &of(&[]), &[], "scan").unwrap(), [only(&a, &["x"])]);
    assert_eq!(roots(&file, &of(&[&b]), &[], "scan").unwrap(), [only(&b, &[])]);
    let mut flags = of(&[&a]);
    flags.exclude.push("y".into());
    assert_eq!(roots(&file, &flags, &[], "scan").unwrap(), [only(&a, &["x", "y"])]);
    let stored = [only(&b, &["z"])];
    assert_eq!(roots(&File::default(), &of(&[]), &stored, "scan").unwrap(), stored);
    let none = roots(&File::default(), &of(&[]), &[], "watch").unwrap_err();
    assert!(matches!(&none, Failure::Usage(said) if said.contains("`indexer watch ~/Media`")), "{none}");
    roots(&File::default(), &of(&[&a, &a]), &[], "scan").expect_err("twice");
    roots(&File::default(), &of(&[&top]), &stored, "scan").expect_err("the index has a root inside it");
    // A root that is away for now is taken as it is known.
    let gone = [only(&top.join("gone"), &[])];
    assert_eq!(roots(&File::default(), &of(&[&top.join("gone")]), &gone, "scan").unwrap(), gone);
}
