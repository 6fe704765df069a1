//! Tests of the configuration as a whole.

use super::*;
use grid_core::control::{Ack, MapConfig, QueueConfig};
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
    assert_eq!(
        config.cluster(),
        &Cluster {
            name: "dev".into(),
            partitions: 271,
            sync_backups: 1,
            async_backups: 0,
            min_in_sync: 1,
            lease: Duration::from_millis(400),
        }
    );
    assert!(config.join().is_empty() && config.advertise().is_none());
    assert!(config.data_dir().is_none());
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
    let queue = QueueConfig { items_max: Some(100_000), ..QueueConfig::default() };
    assert_eq!(
        config.structure_config(StructureKind::Queue, "inbox"),
        StructureConfig::Queue(queue)
    );
}

#[test]
fn maps_and_queues_say_when_they_answer() {
    let text = "[map.fast]\nack = \"primary\"\n[queue.\"*\"]\nack = \"all\"\n";
    let config = Layers::new().text("t", text).build().unwrap();
    assert_eq!(config.structure_config(StructureKind::Map, "fast").ack(), Ack::Primary);
    assert_eq!(config.structure_config(StructureKind::Map, "other").ack(), Ack::All);
    assert_eq!(config.structure_config(StructureKind::Queue, "q").ack(), Ack::All);
    let problems = Layers::new().text("t", "[map.a]\nack = \"none\"\n").build().unwrap_err();
    assert!(problems.to_string().contains("one of all, primary"), "{problems}");
}

#[test]
fn the_sample_of_three_members_fits_together() {
    let texts = [
        include_str!("../../../config/three/1.toml"),
        include_str!("../../../config/three/2.toml"),
        include_str!("../../../config/three/3.toml"),
    ];
    let three = texts.map(|text| Layers::new().text("sample", text).build().unwrap());
    let listed: Vec<String> = three[0].join().iter().map(ToString::to_string).collect();
    for (member, n) in three.iter().zip(1_u16..) {
        assert_eq!(member.bind().to_string(), listed[usize::from(n) - 1]);
        assert_eq!(member.bind().port(), 5700 + n);
        assert_eq!(member.http().map(Address::port), Some(8700 + n));
        assert_eq!(member.data_dir(), Some(Path::new(&format!("data/{n}"))));
        assert_eq!((member.join(), member.cluster()), (three[0].join(), three[0].cluster()));
        assert!(matches!(member.memory().budget, Budget::Percent(share) if share <= 30));
    }
    assert_eq!(three[0].cluster().name, "three");
}

/// The variables that a file for containers sets, from `KEY=value` and `KEY: value`.
fn variables(text: &str) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let words = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("ENV ").trim_end_matches(" \\");
        let (name, value) = line.split_once("=").or_else(|| line.split_once(": "))?;
        name.starts_with("GRID_").then(|| (name.into(), value.into()))
    });
    words.collect()
}

#[test]
fn the_members_in_containers_start_and_reach_each_other() {
    let image = variables(include_str!("../../../Dockerfile"));
    assert_eq!(image.len(), 3, "{image:?}");
    let alone = Layers::new().environment(image.clone()).build().unwrap();
    assert_eq!(alone.data_dir(), Some(Path::new("/data")));
    let (own, shared): (Vec<_>, Vec<_>) = variables(include_str!("../../../compose.yaml"))
        .into_iter()
        .partition(|(name, _)| name == "GRID_ADVERTISE");
    assert_eq!((own.len(), shared.len()), (3, 2), "{own:?} {shared:?}");
    for own in own {
        let layers = Layers::new().environment(image.clone()).environment(shared.clone());
        let member = layers.environment([own]).build().unwrap();
        assert!(member.join().contains(member.advertise().unwrap()) && member.join().len() == 3);
    }
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
    assert_eq!((&*config.cluster().name, config.cluster().partitions), ("variable", 7));
    assert_eq!(config.http(), None);
    assert!(config.memory().huge_pages);
}

#[test]
fn every_problem_is_told_at_once_with_its_place_key_value_and_what_is_possible() {
    let text = "bimd = 'x'\nbind = 'nowhere'\njoin = ['a:1', 'b:0']\n[cluster]\npartitions = 0\nnmae = 'x'\n[clutser]\na = 1\nb = 2\n\
                [map.a]\ntime-to-live = '0s'\nttl = 5\n[map.'b*c*']\n[topic.t]\nx = 1\n[log]\nlevel = 'loud'\n[limits]\n\
                connections-max = -1\n[memory]\nbudget = 1.5";
    let told = problems(text);
    let lines = [
        r#"f.toml:1: unknown setting "bimd"; did you mean bind?"#,
        r#"f.toml:2: bind is "nowhere"; possible: HOST:PORT, such as 127.0.0.1:5701 or [::1]:5701"#,
        "f.toml:3: join is a list of 2; possible: a list of HOST:PORT that lead to members, unlike b:0",
        "f.toml:5: cluster.partitions is 0; possible: a whole number from 1 to 16384",
        r#"f.toml:6: unknown setting "cluster.nmae"; did you mean cluster.name?"#,
        r#"f.toml:7: unknown setting "clutser"; did you mean cluster?"#,
        r#"f.toml:11: map."a".time-to-live is "0s"; possible: 1ms to 36500d, as "250ms", "5s", "10m", "1h30m", "7d""#,
        r#"f.toml:12: unknown setting "ttl" in map."a"; possible: ack, max-idle, time-to-live"#,
        r#"f.toml:13: the name "b*c*" holds `*` more than once"#,
        r#"f.toml:15: unknown setting "x" in topic."t"; topics have none yet"#,
        r#"f.toml:17: log.level is "loud"; possible: one of off, error, warn, info, debug, trace"#,
        "f.toml:19: limits.connections-max is -1; possible: a whole number from 1 to 1000000",
        r#"f.toml:21: memory.budget is 1.5; possible: "1%" to "95%", or at least 16MiB, as 1048576, "512KiB", "64MiB", "2GiB""#,
    ];
    assert_eq!(told, lines.join("\n"));
}

#[test]
fn a_member_of_a_cluster_is_configured_in_any_layer() {
    let text = "join = ['10.0.0.1:5701', 'grid-2:5701']\nbind = '10.0.0.1:5701'\ndata-dir = 'd'\n\
                [cluster]\nsync-backups = 2\nmin-in-sync = 2\nlease = '2s'";
    let variables = [
        ("GRID_JOIN", " 10.0.0.1:5701, [::1]:2,"),
        ("GRID_ADVERTISE", "grid-1:5701"),
        ("GRID_CLUSTER__MIN_IN_SYNC", "3"),
        ("GRID_CLUSTER__ASYNC_BACKUPS", "6"),
    ];
    let layers = Layers::new().text("f", text);
    let layers = layers.environment(variables.map(|(name, value)| (name.into(), value.into())));
    let config = layers.flag("--data-dir", "data-dir", "e").build().unwrap();
    let settings = crate::settings::Settings::of(&config);
    assert_eq!(settings.join, ["10.0.0.1:5701", "[::1]:2"]);
    assert_eq!(settings.advertise.as_deref(), Some("grid-1:5701"));
    assert_eq!(settings.data_dir.as_deref(), Some(Path::new("e")));
    let replicas = (settings.sync_backups, settings.async_backups, settings.min_in_sync);
    assert_eq!((replicas, settings.lease_ms), ((2, 6, 3), 2_000));
}

#[test]
fn what_others_cannot_reach_or_count_on_is_refused() {
    let told = problems(
        "advertise = '0.0.0.0:5701'\njoin = [1]\n[cluster]\nsync-backups = 7\nasync-backups = -1\n\
         min-in-sync = 8\nlease = '6s'",
    );
    let lines = [
        r#"f.toml:1: advertise is "0.0.0.0:5701"; possible: HOST:PORT of this machine as others know it, the port not 0, or """#,
        "f.toml:2: join is a list of 1; possible: a list of HOST:PORT",
        "f.toml:4: cluster.sync-backups is 7; possible: a whole number from 0 to 6",
        "f.toml:5: cluster.async-backups is -1; possible: a whole number from 0 to 6",
        "f.toml:6: cluster.min-in-sync is 8; possible: a whole number from 1 to 7",
        r#"f.toml:7: cluster.lease is "6s"; possible: 200ms to 5s, as "250ms", "5s", "10m", "1h30m", "7d""#,
    ];
    assert_eq!(told, lines.join("\n"));
    assert!(problems("advertise = 'a:0'").contains("the port not 0"));
    let many = format!("join = [{}]", "'127.0.0.1:1',".repeat(101));
    assert!(problems(&many).ends_with("at most 100 addresses"));
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused_with_both_places() {
    let told = problems("[cluster]\nmin-in-sync = 3\nsync-backups = 1");
    assert_eq!(
        told,
        "f.toml:2: cluster.min-in-sync is 3; possible: at most one more than cluster.sync-backups, which \
         is 1 (f.toml:3)"
    );
    // Each layer for itself would be fine.
    let layers = Layers::new().text("f", "[cluster]\nsync-backups = 2\nmin-in-sync = 3");
    let layers = layers.environment([("GRID_CLUSTER__SYNC_BACKUPS".into(), "0".into())]);
    let told = layers.clone().build().unwrap_err().to_string();
    assert!(told.contains("f:3") && told.contains("variable GRID_CLUSTER__SYNC_BACKUPS"), "{told}");
    assert!(layers.flag("--x", "cluster.min-in-sync", "1").build().is_ok());
    // What is refused by itself is told once.
    assert_eq!(problems("[cluster]\nmin-in-sync = 3\nsync-backups = 9").lines().count(), 1);
}

#[test]
fn a_member_that_joins_others_must_be_within_their_reach() {
    let built = |text: &str| Layers::new().text("f", text).build();
    for good in [
        "join = ['127.0.0.1:5702', 'localhost:1', '[::1]:1']",
        "bind = '0.0.0.0:5701'",
        "bind = '0.0.0.0:5701'\nadvertise = 'grid-1:5701'\njoin = ['grid-2:5701']",
        "bind = '127.0.0.1:5701'\nadvertise = 'grid-1:5701'\njoin = ['grid-2:5701']",
        "bind = '10.0.0.1:5701'\njoin = ['grid-2:5701', '127.0.0.1:1']",
    ] {
        assert_eq!(built(good).map(|_| ()), Ok(()), "{good}");
    }
    for (bad, told) in [
        (
            "join = ['10.0.0.2:1']",
            "f:1: 10.0.0.2:1 (join) cannot reach this member at 127.0.0.1:5701 (bind)",
        ),
        (
            "advertise = 'localhost:1'\nbind = '10.0.0.1:1'\njoin = ['127.0.0.1:1', 'b:1']",
            "f:1: b:1 (join) cannot reach this member at localhost:1 (advertise)",
        ),
        (
            "bind = '[::]:1'\njoin = ['127.0.0.1:5702']",
            "f:2: members to join cannot reach this one at [::]:1 (bind); possible: advertise = ",
        ),
    ] {
        let error = built(bad).unwrap_err();
        assert!(error.to_string().starts_with(told) && error.count() == 1, "{error}");
    }
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
