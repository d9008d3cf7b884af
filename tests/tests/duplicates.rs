//! Sets of equal files: those of `indexer dups` are those of jdupes and rmlint, and those that were made. It could break by one
//! byte at the end that is not read, by a hard link or an empty file that counts.

use indexer_tests::{
    Contents, Place, Sets, Skipped, compare_sets, indexer, json_lines, need_tool, sets_by_indexer,
    sets_by_jdupes, sets_by_rmlint, sets_made, skipped, stderr,
};

fn assert_same(one: (&str, &Sets), other: (&str, &Sets)) {
    let differences = compare_sets(one, other);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn sets_are_those_of_jdupes_and_rmlint() {
    let tools =
        || -> Result<_, Skipped> { Ok((need_tool("jdupes", "jdupes")?, need_tool("rmlint", "rmlint")?)) };
    let (jdupes, rmlint) = match tools() {
        Ok(tools) => tools,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let pieces = Contents { files: 400, most: 1 << 20, seed: 5 }.make(root).unwrap();
    let made = sets_made(&pieces, root);
    assert!(made.len() > 10, "{}", made.len());
    let by_jdupes = sets_by_jdupes(&jdupes, root).unwrap();
    assert_same(("jdupes", &by_jdupes), ("the maker", &made));
    assert_same(("rmlint", &sets_by_rmlint(&rmlint, root).unwrap()), ("jdupes", &by_jdupes));

    for level in ["candidates", "full"] {
        let state = ground.beside(level);
        let said = indexer(&state, &[&"scan", &"--hash", &level, &root]);
        assert!(said.status.success(), "scan --hash {level}: {}: {}", said.status, stderr(&said));
        let said = indexer(&state, &[&"dups", &"--json"]);
        assert!(said.status.success(), "dups: {}: {}", said.status, stderr(&said));
        let ours = sets_by_indexer(&json_lines(&said), root).unwrap();
        assert_same((level, &ours), ("jdupes", &by_jdupes));
    }
}
