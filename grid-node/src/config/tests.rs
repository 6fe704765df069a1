//! Tests of the configuration as a whole.

use super::*;
use grid_core::control::{MapConfig, QueueConfig};
use proptest::prelude::*;

fn problems(text: &str) -> String {
    Layers::new().text("f.toml", text).build().unwrap_err().to_string()
}

fn ttl(config: &Config, name: &str) -> Option<u64> {
    match config.structure_config(StructureKind::Map, name) {
        StructureConfig::Map(config) => config.ttl_ms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_default_file_sets_every_setting_and_is_without_problems() {
    let config = Config::default();
    assert_eq!(config.check(), Ok(()));
    let entries = read_toml(&Arc::from("grid.toml"), DEFAULT_TOML).unwrap();
    for setting in SETTINGS {
        let set = entries.iter().any(|e| e.path.join(".") == setting.key);
        assert!(set, "grid.toml does not set {}", setting.key);
    }
    assert_eq!(config.cluster(), &Cluster { name: "dev".into(), partitions: 271 });
    assert_eq!(config.bind().to_string(), "127.0.0.1:5701");
    assert_eq!(config.http().unwrap().to_string(), "127.0.0.1:8701");
    assert_eq!(config.memory().budget, Budget::Percent(60));
    assert!(config.memory().budget.bytes() > 0 && config.cores() > 0 && !config.name().is_empty());
    assert_eq!(config.limits().frame_bytes_max, grid_core::limits::FRAME_BYTES_MAX);
    assert_eq!(config.log(), Log { level: Level::Info, format: LogFormat::Text });
}

#[test]
fn the_examples_in_the_comments_of_the_default_file_are_right() {
    let example = |line: &str| {
        let rest = line.strip_prefix('#')?;
        rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()).then(|| format!("{rest}\n"))
    };
    let text: String = DEFAULT_TOML.lines().filter_map(example).collect();
    let config = Layers::new().text("examples", &text).build().unwrap();
    assert_eq!(ttl(&config, "orders-2"), Some(3_600_000));
    let queue = QueueConfig { items_max: Some(100_000) };
    assert_eq!(
        config.structure_config(StructureKind::Queue, "inbox"),
        StructureConfig::Queue(queue)
    );
}

#[test]
fn later_layers_win() {
    let layers = Layers::new()
        .text("f", "bind = 'a:1'\nhttp = 'a:2'\n[cluster]\nname = 'file'\npartitions = 7");
    let variables = [
        ("GRID_CLUSTER__NAME", "variable"),
        ("GRID_HTTP", "a:3"),
        ("GRID_MEMORY__HUGE_PAGES", "true"),
        ("GRIDLOCK", "ignored"),
        ("HOME", "/"),
    ];
    let layers = layers.environment(variables.map(|(name, value)| (name.into(), value.into())));
    let config = layers.flag("--http", "http", "off").build().unwrap();
    assert_eq!(config.bind().to_string(), "a:1");
    assert_eq!(config.cluster(), &Cluster { name: "variable".into(), partitions: 7 });
    assert_eq!(config.http(), None);
    assert!(config.memory().huge_pages);
}

#[test]
fn every_problem_is_told_at_once_with_its_place_key_value_and_what_is_possible() {
    let text = "bimd = 'x'\nbind = 'nowhere'\njoin = ['a:1']\n[cluster]\npartitions = 0\nnmae = 'x'\n[clutser]\na = 1\nb = 2\n\
                [map.a]\ntime-to-live = '0s'\nttl = 5\n[map.'b*c*']\n[topic.t]\nx = 1\n[log]\nlevel = 'loud'\n[limits]\n\
                connections-max = -1\n[memory]\nbudget = 1.5";
    let told = problems(text);
    let lines = [
        r#"f.toml:1: unknown setting "bimd"; did you mean bind?"#,
        r#"f.toml:2: bind is "nowhere"; possible: HOST:PORT, such as 127.0.0.1:5701 or [::1]:5701"#,
        "f.toml:3: join is a list of 1; possible: an empty list; a member runs alone, clusters of several are not there yet",
        "f.toml:5: cluster.partitions is 0; possible: a whole number from 1 to 16384",
        r#"f.toml:6: unknown setting "cluster.nmae"; did you mean cluster.name?"#,
        r#"f.toml:7: unknown setting "clutser"; did you mean cluster?"#,
        r#"f.toml:11: map."a".time-to-live is "0s"; possible: 1ms to 36500d, as "250ms", "5s", "10m", "1h30m", "7d""#,
        r#"f.toml:12: unknown setting "ttl" in map."a"; possible: max-idle, time-to-live"#,
        r#"f.toml:13: the name "b*c*" holds `*` more than once"#,
        r#"f.toml:15: unknown setting "x" in topic."t"; topics have none yet"#,
        r#"f.toml:17: log.level is "loud"; possible: one of off, error, warn, info, debug, trace"#,
        "f.toml:19: limits.connections-max is -1; possible: a whole number from 1 to 1000000",
        r#"f.toml:21: memory.budget is 1.5; possible: "1%" to "95%", or at least 16MiB, as 1048576, "512KiB", "64MiB", "2GiB""#,
    ];
    assert_eq!(told, lines.join("\n"));
}

#[test]
fn variables_flags_and_programs_are_named_in_their_problems() {
    let layers = Layers::new().environment([("GRID_CLUSTER__NMAE".into(), "x".into())]);
    let told = layers.flag("--bind", "bind", "x").build().unwrap_err();
    assert_eq!(told.count(), 2);
    let told = told.to_string();
    assert!(
        told.contains(
            "variable GRID_CLUSTER__NMAE: unknown setting; did you mean GRID_CLUSTER__NAME?"
        ),
        "{told}"
    );
    assert!(told.contains("flag --bind: bind is \"x\""), "{told}");
    let config =
        Config::default().with("cluster.partitions", 0).with("no.such.key", 1).with("cores", 2);
    assert_eq!(config.cores(), 2);
    let told = config.check().unwrap_err().to_string();
    assert!(
        told.contains("program: cluster.partitions is \"0\"") && told.contains("no.such.key"),
        "{told}"
    );
}

#[test]
fn a_broken_or_missing_file_is_refused() {
    assert!(problems("[cluster").starts_with("f.toml:1: "));
    assert!(problems("a = 1\na = 2").starts_with("f.toml:2: "));
    let missing = Layers::new().file(Path::new("/nonexistent/grid.toml")).build().unwrap_err();
    assert!(
        missing.to_string().starts_with("/nonexistent/grid.toml: cannot read the file"),
        "{missing}"
    );
    assert!(Layers::new().file(Path::new("/")).build().is_err());
}

#[test]
fn the_most_specific_section_counts_alone() {
    let text = "[map.'*']\ntime-to-live = '1s'\n[map.'orders*']\ntime-to-live = '2s'\n[map.'orders*-eu']\nmax-idle = '1m'\n\
                [map.orders-x-eu]\ntime-to-live = '4s'";
    let config = Layers::new().text("f", text).build().unwrap();
    assert_eq!(ttl(&config, "a"), Some(1_000));
    assert_eq!(ttl(&config, "orders-us"), Some(2_000));
    assert_eq!(ttl(&config, "orders-1-eu"), None);
    assert_eq!(ttl(&config, "orders-x-eu"), Some(4_000));
    let own = MapConfig { ttl_ms: Some(9), ..MapConfig::default() };
    let config = config.with_structure("orders*", StructureConfig::Map(own));
    assert_eq!(ttl(&config, "orders-us"), Some(9));
    assert_eq!(config.structure_config(StructureKind::Topic, "orders"), StructureConfig::Topic);
}

#[test]
fn sections_that_cross_are_refused() {
    let told = problems("[map.'a*']\n[map.'*b']\n[queue.'*b']");
    assert!(
        told.contains(r#"map."a*""#) && told.contains(r#"map."*b""#) && told.lines().count() == 1,
        "{told}"
    );
}

/// TOML that is made of our keys with values of all kinds.
fn near_miss() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        prop::sample::select(SETTINGS.iter().map(|s| s.key).collect::<Vec<_>>())
            .prop_map(str::to_owned),
        "(map|queue|topic)\\.'[a-c*]{0,3}'(\\.(time-to-live|max-idle|items-max|x))?",
        "[a-z]{1,3}(\\.[a-z]{1,3}){0,3}",
    ];
    let value = prop_oneof![
        "-?[0-9]{1,19}",
        "'[0-9]{0,20}(ms|s|h|d|%|B|MiB|TiB)?'",
        "'[^']{0,5}'",
        prop::sample::select(vec![
            "true",
            "[]",
            "[[[]]]",
            "{}",
            "{ a = 1 }",
            "1.5",
            "nan",
            "1979-05-27",
            "['a:1', 2]"
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec((key, value), 0..6)
        .prop_map(|lines| lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![".{0,200}", "[\\[\\]{}=.'\"a-b1\\n #]{0,60}", near_miss()]) {
        match Layers::new().text("f", &text).build() {
            Ok(config) => prop_assert_eq!(config.check(), Ok(())),
            Err(error) => prop_assert!(error.count() > 0 && !error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_variable_is_read_or_refused(name in "[A-Z_]{0,12}", value in ".*", key in prop::sample::select(SETTINGS.iter().map(|s| s.key).collect::<Vec<_>>())) {
        let _ = Layers::new().environment([(format!("GRID_{name}").into(), value.clone().into())]).flag("--x", key, &value).build();
    }

    #[test]
    fn of_accepted_sections_the_innermost_counts(patterns in prop::collection::btree_set("[ab]{0,2}\\*?[ab]{0,2}", 0..5), name in "[ab]{1,5}") {
        let section = |(i, p): (usize, &String)| format!("[map.'{p}']\ntime-to-live = '{}s'\n", i + 1);
        let text: String = patterns.iter().enumerate().map(section).collect();
        if let Ok(config) = Layers::new().text("f", &text).build() {
            let fits = |p: &&String| match p.split_once('*') {
                None => **p == name,
                Some((a, b)) => name.len() >= a.len() + b.len() && name.starts_with(a) && name.ends_with(b),
            };
            let best = patterns.iter().filter(fits).max_by_key(|p| (!p.contains('*'), p.len()));
            let expected = best.and_then(|best| patterns.iter().position(|p| p == best)).map(|i| (i as u64 + 1) * 1000);
            prop_assert_eq!(ttl(&config, &name), expected);
        }
    }
}
