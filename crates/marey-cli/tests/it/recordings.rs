use marey_test::{Colour, Motion, Shape, render_clip, write_gif};
use serde_json::Value;

use crate::harness::{Project, succeed};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Seconds of one rendered clip.
const CLIP_SEC: f64 = 0.96;

/// Recordings of four clips each, every clip a labelled span; the last recordings of validation and test hold the first
/// motion only.
fn with_recordings() -> Project {
    let project = Project::new();
    let mut rows = String::from("path,label,group,split,start,end\n");
    for recording in 0..8 {
        let split = [
            "train", "train", "train", "train", "val", "val", "test", "test",
        ][recording];
        let mut frames = Vec::new();
        for place in 0..4 {
            let motion = match recording {
                5 | 7 => Motion::ALL[0],
                _ => Motion::ALL[(place + recording) % 4],
            };
            let seed = 100 + recording as u64;
            frames.extend(render_clip(
                motion,
                Shape::ALL[0],
                Colour::ALL[0],
                seed,
                place,
            ));
            let [start, end] = [place, place + 1].map(|place| place as f64 * CLIP_SEC);
            let label = motion.name();
            rows += &format!(
                "recording_{recording}.gif,{label},barn_{recording},{split},{start:.2},{end:.2}\n"
            );
        }
        let path = project
            .path("clips")
            .join(format!("recording_{recording}.gif"));
        write_gif(&path, &frames, 40).expect("written");
    }
    project.write("clips/recordings.csv", &rows);
    project
}

#[test]
fn events_and_anomalies_of_recordings_are_in_the_report() {
    let project = with_recordings();
    let normal = Motion::ALL[0].name();
    let path = format!("data.path={:?}", project.arg("clips/recordings.csv"));
    let events = format!("eval.events={{background=[{normal:?}], on=0.0, hop=0.96}}");
    let anomaly = format!("eval.anomaly={{normal={normal:?}, window=0.96, hop=0.48, top=2}}");
    let data = [&path as &str, "data.split={by=\"given\"}", "train.epochs=1"];
    let printed = project.train("runs", &[&data[..], &[&events, &anomaly]].concat());
    assert!(printed.contains("event F1: "), "{printed}");
    let report = json(&project.read("runs/small-1/report.json"));
    let found = &report["events"];
    assert_eq!(
        (&found["recordings"], &found["events"]),
        (&2.into(), &3.into())
    );
    // The window is as long as the labelled spans.
    assert_eq!(found["window_sec"], 0.96);
    let hours = found["hours"].as_f64().expect("a number");
    assert!((hours - 8.0 * CLIP_SEC / 3600.0).abs() < 1e-9, "{hours}");
    let count = |idx: usize| found["counts"][idx].as_u64().expect("a number");
    assert_eq!(count(0) + count(1), 3);
    let figure = |name: &str| {
        let figures = found["figures"].as_array().expect("figures");
        let figure = figures.iter().find(|figure| figure["name"] == name);
        figure.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let rate = figure("false_alarms_per_hour");
    assert!((rate["value"].as_f64().expect("a number") * hours - count(2) as f64).abs() < 1e-6);
    assert_eq!(rate["interval"]["method"]["kind"], "poisson");
    assert!(figure("event_recall")["interval"]["high"].is_number());

    let anomalies = &report["anomalies"];
    assert_eq!(
        (&anomalies["recordings"], &anomalies["anomalous"]),
        (&2.into(), &1.into())
    );
    assert_eq!(anomalies["frames"][0]["support"], 2 * 96);
    let videos = anomalies["videos"].as_array().expect("ways to sum up");
    let words: Vec<&str> = videos
        .iter()
        .map(|video| video["aggregate"].as_str().expect("words"))
        .collect();
    assert_eq!(
        words,
        [
            "mean over its windows",
            "highest window",
            "mean of the 2 highest windows",
            "share of windows above 0.5"
        ]
    );
    // A threshold that one anomalous and one normal validation recording chose.
    let verdicts = &anomalies["verdicts"];
    assert_eq!(verdicts["aggregate"], "mean of the 2 highest windows");
    assert_eq!(verdicts["threshold"]["anomalous"], 1);
    assert_eq!(verdicts["threshold"]["chosen"]["support"], 2);
    let rows = verdicts["confusion"].as_array().expect("rows");
    for row in rows {
        let row = row.as_array().expect("two counts");
        let total: u64 = row.iter().filter_map(Value::as_u64).sum();
        assert_eq!(total, 1, "{rows:?}");
    }
    for figure in verdicts["figures"].as_array().expect("figures") {
        assert!(figure["interval"]["high"].is_number(), "{figure}");
    }
    assert!(printed.contains("verdict by recording, "), "{printed}");
    let page = project.read("runs/small-1/report.html");
    for part in [
        "Events in recordings",
        "Anomalies in recordings",
        "By recording: highest window",
        "Verdict by recording",
        "chosen on the validation split (2 recordings, 1 anomalous)",
    ] {
        assert!(page.contains(part), "{part}");
    }

    // Evaluation gives the same; without the sections in the recipe, by their defaults.
    let bundle = project.arg("runs/small-1/bundle");
    let again = json(&succeed(&["eval", &bundle, "--json"]));
    assert_eq!((&again["events"], &again["anomalies"]), (found, anomalies));
    project.write("plain.toml", &project.read("small.toml"));
    let plain = project.arg("plain.toml");
    let args = [
        "eval", &bundle, "--recipe", &plain, "--set", &path, "--set", data[1],
    ];
    let without = json(&succeed(&[&args[..], &["--json"]].concat()));
    assert!(without["events"].is_null(), "{}", without["events"]);
    let with = json(&succeed(&[&args[..], &["--json", "--events"]].concat()));
    assert_eq!(with["events"]["events"], 5, "every class is an event");
    assert_eq!(with["events"]["hop_sec"], 0.48);
}

#[test]
fn what_cannot_be_watched_is_refused_before_a_run_is_made() {
    let project = Project::new();
    let error = project.refuse(&["eval.events={background=[\"walking\"], window=1.0}"]);
    assert!(error.contains("\"walking\", which is no class"), "{error}");
    let error = project.refuse(&["eval.events={}"]);
    assert!(error.contains("set eval.events.window"), "{error}");
    let error = project.refuse(&["eval.anomaly={}"]);
    assert!(error.contains("names no normal class"), "{error}");
    let task = "task={kind=\"anomaly\", normal=\"horizontal\"}";
    let error = project.refuse(&[task, "eval.anomaly={normal=\"vertical\", window=0.4}"]);
    assert!(error.contains("a recipe has one normal class"), "{error}");
    let error = project.refuse(&["eval.anomaly={normal=\"quiet\"}"]);
    assert!(error.contains("\"quiet\", which is no class"), "{error}");
}
