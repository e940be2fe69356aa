//! The absences that `docs/architecture.md` promises, held by reading the sources.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source below `folder`, without build products.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the project is readable") {
        let path = entry.expect("a folder entry is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The sources below `folder` with their text, by path from the root.
fn texts(folder: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    sources(&root().join(folder), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source is readable");
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            (name, text)
        })
        .collect()
}

/// Lines of code of `folder` (comments aside) that hold one of `words`.
fn naming(folder: &str, words: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in texts(folder) {
        if except.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn only_the_glommio_world_names_glommio_and_io_uring() {
    // Only the seam's crate can: no other depends on them.
    let members = ["", "config", "net", "net/client", "perf", "shards", "shards/model"];
    for member in members.into_iter().chain(["tests/support"]) {
        let manifest = root().join(member).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("a manifest is readable");
        let depends = |line: &&str| {
            line.starts_with("glommio.workspace") || line.starts_with("io-uring.workspace")
        };
        let found: Vec<&str> = text.lines().filter(depends).collect();
        assert!(found.is_empty(), "{}: {found:?}", manifest.display());
    }
    // Inside it, only the folder of that world: `::glommio` is the crate, `glommio` the folder.
    let words = ["::glommio::", "use ::glommio", "io_uring::"];
    let mut found = naming("shards/runtime/src", &words, &["shards/runtime/src/glommio"]);
    found.retain(|line| !line.contains("crate::glommio::") && !line.contains("super::glommio::"));
    assert_none("glommio or io_uring named outside its world", &found);
}

#[test]
fn the_leaves_import_none_of_the_others() {
    let all = ["use net::", "use shards::", "use model::", "use runtime::", "phantomdb::"];
    assert_none(
        "model imports",
        &naming("shards/model", &["use net", "use shards", "use runtime"], &[]),
    );
    assert_none("runtime imports", &naming("shards/runtime", &["use model", "use shards"], &[]));
    assert_none("config imports", &naming("config", &all, &[]));
}

#[test]
fn net_never_imports_shards_and_shards_never_import_net() {
    assert_none("net imports shards", &naming("net", &["shards::"], &[]));
    let found = naming("shards/src", &["net::"], &[]);
    let found: Vec<_> = found.into_iter().filter(|line| !line.contains("runtime::net::")).collect();
    assert_none("shards import net", &found);
}

#[test]
fn the_parser_and_planner_know_no_engine_and_do_no_io() {
    let words = ["runtime::fs", "runtime::net", "shards::core", "async fn", "net::"];
    assert_none("src/sql does I/O", &naming("src/sql", &words, &[]));
}

#[test]
fn the_cluster_is_decided_on_without_io() {
    let words = ["shards::", "net::message", "net::server", "runtime::fs", "runtime::net"];
    assert_none("src/cluster does I/O", &naming("src/cluster", &words, &[]));
    // What is decided is a function of what it is told.
    for decider in ["src/cluster/decide", "src/cluster/registry"] {
        let found = naming(decider, &["async fn", "runtime::"], &["src/cluster/decide/tests"]);
        assert_none("a decision waits, or looks for itself", &found);
    }
}

#[test]
fn only_the_node_joins_net_with_shards() {
    let names = |text: &str, krate: &str| {
        text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                .any(|word| word.starts_with(krate))
        })
    };
    let mut both = texts("src");
    both.retain(|(name, text)| {
        !name.starts_with("src/node") && names(text, "net::") && names(text, "shards::")
    });
    let both: Vec<String> = both.into_iter().map(|(name, _)| name).collect();
    assert_none("net and shards meet", &both);
}

#[test]
fn only_the_two_ends_of_an_encrypted_connection_name_the_engine_of_tls() {
    let rooms = ["net/src/server/tls", "net/client/src/tls", "tests/architecture"];
    assert_none("rustls is named elsewhere", &naming(".", &["rustls::"], &rooms));
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "allow(dead_code", "allow(unused"];
    assert_none("unfinished", &naming(".", &words, &["tests/architecture"]));
}

#[test]
fn files_tell_one_story() {
    const LINES_MAX: usize = 800;
    let long: Vec<String> = texts(".")
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert_none("files over 800 lines", &long);
}
