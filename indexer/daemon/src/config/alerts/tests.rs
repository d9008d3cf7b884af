//! `[[alert]]`: what each key means, and what an error names. It could break by a key that is taken and does nothing.

use super::*;
use crate::config::File;

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let file =
        File::parse(text, Path::new("/etc/indexer.toml"), &|name| (name == "HOME").then(|| "/home/u".into()));
    file.map(|file| file.rules).map_err(|error| error.to_string())
}

const ALL: &str = r#"
roots = ["/srv"]

[[alert]]
name = "films"
op = ["created", "renamed"]
path = ["~/Films/**", "*.mkv"]
at_least = "1GiB"
at_most = "1T"
category = "video"
webhook = { env = "HOOK" }
headers = { Authorization = { file = "token" }, X-From = "attic" }
ca = "ca.pem"
timeout = "30s"
give_up = "1d"
rate = { most = 3, per = "10m" }

[[alert]]
name = "rot"
op = "corrupt"
category = ["photo", "music"]
unfinished = true
command = ["~/bin/tell", "--now", "$HOME"]
env = "DISPLAY"

[[alert]]
name = "behind"
lag = "1m"
log = true
"#;

#[test]
fn a_file_makes_rules() {
    let rules = parse(ALL).unwrap();
    let When::Records(films) = &rules[0].when else { panic!("films are records") };
    assert_eq!(films.ops, ["created", "renamed"]);
    assert_eq!((films.at_least, films.at_most), (Some(1 << 30), Some(1 << 40)));
    assert_eq!(films.categories, [record::Category::Video]);
    assert!(!films.unfinished);
    let paths = films.paths.as_ref().unwrap();
    assert!(paths.matches(b"/home/u/Films/a/b") && paths.matches(b"/x/y.mkv") && !paths.matches(b"/x/y.avi"));
    let webhook = Webhook {
        url: Secret::Env("HOOK".into()),
        headers: vec![
            ("Authorization".into(), Secret::File("/etc/token".into())),
            ("X-From".into(), Secret::Plain("attic".into())),
        ],
        ca: Some("/etc/ca.pem".into()),
    };
    assert_eq!(rules[0].to, To::Webhook(webhook));
    let seconds = Duration::from_secs;
    assert_eq!((rules[0].timeout, rules[0].give_up), (seconds(30), seconds(86_400)));
    assert_eq!(rules[0].rate, Rate { most: 3, per: seconds(600) });

    let When::Records(rot) = &rules[1].when else { panic!("rot is a record") };
    assert_eq!((rot.ops.as_slice(), rot.categories.len(), rot.unfinished), (&["corrupt"][..], 2, true));
    let argv = ["/home/u/bin/tell", "--now", "$HOME"].map(str::to_owned).to_vec();
    assert_eq!(rules[1].to, To::Command(Command { argv, env: vec!["DISPLAY".into()] }));
    assert_eq!((rules[1].timeout, rules[1].give_up), (seconds(10), seconds(6 * 3600)));
    assert_eq!(rules[1].rate, Rate { most: 10, per: seconds(60) });
    assert_eq!((&rules[2].when, &rules[2].to), (&When::Lag(seconds(60)), &To::Log));
    assert_eq!(rules[2].consumer(), "alert/behind");
}

#[test]
fn errors_name_file_line_rule_and_what_to_write() {
    // Each is the third line of a rule that is fine without it.
    let with = |line: &str| parse(&format!("\n\n[[alert]]\nname = \"a\"\n{line}\n"));
    let gap = |line: &str| with(&format!("op = \"gap\"\nlog = true\n{line}"));
    gap("").unwrap();
    for (said, expected) in [
        (gap("colour = 1"), "line 7: unknown field `colour`"),
        (gap("at_least = \"much\""), "line 7: unknown unit \"much\""),
        (gap("give_up = \"soon\""), "line 7: \"soon\" is no length of time"),
        (gap("path = 1"), "line 7: invalid type: integer `1`, expected a text, or several in brackets"),
        (gap("path = \"a/b\""), "line 3: alert \"a\": path \"a/b\" matches nothing; write a whole path"),
        (gap("at_least = 2\nat_most = 1"), "at_least is more than at_most"),
        (gap("category = \"film\""), "unknown category \"film\", expected photo, video"),
        (gap("timeout = \"6m\""), "timeout: write 1ms to 5m"),
        (gap("rate = { most = 0 }"), "rate: write { most = 1 to 1000"),
        (gap("rate = { every = 1 }"), "unknown field `every`"),
        (gap("lag = \"1m\""), "lag is about no record; make a rule of its own"),
        (gap("command = [\"/bin/true\"]"), "set exactly one of log"),
        (gap("env = [\"HOME\"]"), "env is of a command"),
        (gap("ca = \"x\""), "headers and ca are of a webhook"),
        (with("op = \"gap\""), "set exactly one of log"),
        (with("log = true"), "it does not say when; set lag, or op to some of created, modified"),
        (with("op = \"exploded\"\nlog = true"), "op: unknown word \"exploded\", expected created"),
        (with("op = \"gap\"\ncommand = [\"tell\"]"), "command: \"tell\" is no whole path"),
        (with("op = \"gap\"\nwebhook = \"example.org\""), "webhook: that is no address"),
        (with("op = \"gap\"\nwebhook = { env = \"A\", file = \"b\" }"), "expected either { env"),
        (with("op = \"gap\"\nwebhook = { variable = \"A\" }"), "unknown field `variable`"),
        (with("lag = \"0s\"\nlog = true"), "lag: write a length of time"),
        (parse("[[alert]]\nop = \"gap\""), "line 1: missing field `name`"),
        (parse("[[alert]]\nname = \"a b\"\nop = \"gap\"\nlog = true"), "\"a b\" is no name of a rule"),
        (
            parse(&format!("{ALL}[[alert]]\nname = \"rot\"\nop = \"gap\"\nlog = true")),
            "another one has that name",
        ),
    ] {
        let said = said.unwrap_err();
        assert!(
            said.starts_with("/etc/indexer.toml, line ") && said.contains(expected),
            "{expected}: {said}"
        );
    }
}

#[test]
fn secrets_do_not_stand_in_the_file() {
    for header in ["Authorization", "Proxy-Authorization", "X-Api-Key", "X-Gitlab-Token", "cookie"] {
        let rule = |value: &str| {
            parse(&format!(
                "[[alert]]\nname = \"a\"\nop = \"gap\"\nwebhook = \"https://h/\"\nheaders = {{ {header} = {value} }}"
            ))
        };
        let said = rule("\"hunter2\"").unwrap_err();
        assert!(said.contains(&format!("{header} is a secret; write {header} = {{ env")), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        rule("{ env = \"TOKEN\" }").unwrap();
        rule("{ file = \"/run/token\" }").unwrap();
    }
    let rules =
        parse("[[alert]]\nname = \"a\"\nop = \"gap\"\nwebhook = \"https://h/hunter2\"\nheaders = { X-A = \"hunter2\" }")
            .unwrap();
    let shown = format!("{rules:?} {}", rules[0].to.shown());
    assert!(!shown.contains("hunter2") && shown.contains("https://h/…"), "{shown}");
}
