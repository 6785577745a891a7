//! `predictions.csv`: a row an item, for spreadsheets and scripts.

use crate::{Error, ErrorKind, Scored, classify::check_items, counts::Outcome};

/// The columns before the scores.
const FIXED: [&str; 6] = [
    "item",
    "group",
    "truth",
    "predicted",
    "correct",
    "confidence",
];

/// The scores as CSV: `item, group, truth, predicted, correct, confidence`, then `score_<class>` for every class.
///
/// # Panics
/// If an item has not one score a class, or a target that is no class.
pub fn predictions_csv(classes: &[String], items: &[Scored]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |row: Vec<String>| {
        writer
            .write_record(row)
            .expect("rows of equal length, into memory")
    };
    write(
        FIXED
            .into_iter()
            .map(str::to_owned)
            .chain(classes.iter().map(|class| format!("score_{class}")))
            .collect(),
    );
    for Scored {
        item,
        group,
        target,
        scores,
    } in items
    {
        assert_eq!(scores.len(), classes.len(), "one score a class");
        let predicted = Outcome::from_scores(*target, scores).predicted;
        let fixed = [
            item.clone(),
            group.clone().unwrap_or_default(),
            classes[*target].clone(),
            classes[predicted].clone(),
            (predicted == *target).to_string(),
            scores[predicted].to_string(),
        ];
        write(
            fixed
                .into_iter()
                .chain(scores.iter().map(f32::to_string))
                .collect(),
        );
    }
    writer.into_inner().expect("memory takes every byte")
}

/// Class names and scored items of a `predictions.csv`, as [`predictions_csv`] writes it. Only `item`, `group`, `truth` and
/// the scores are read; an empty group is none.
///
/// # Errors
/// If the columns are others, a row is incomplete, a truth is no class, a score is no number, or an item comes twice.
pub fn read_predictions(csv: &[u8]) -> Result<(Vec<String>, Vec<Scored>), Error> {
    let mut reader = csv::Reader::from_reader(csv);
    let header = reader.headers().map_err(ErrorKind::Csv)?.clone();
    let named = header.iter().take(FIXED.len()).eq(FIXED);
    let scores = header.iter().skip(FIXED.len());
    let classes: Option<Vec<String>> = scores
        .map(|column| column.strip_prefix("score_").map(str::to_owned))
        .collect();
    let Some(classes) = classes.filter(|_| named) else {
        return Err(ErrorKind::Columns(header.iter().map(str::to_owned).collect()).into());
    };
    let mut items = Vec::new();
    for row in reader.records() {
        let row = row.map_err(ErrorKind::Csv)?;
        let line = row.position().map_or(0, csv::Position::line);
        let truth = &row[2];
        let Some(target) = classes.iter().position(|class| class == truth) else {
            return Err(ErrorKind::Cell {
                line,
                cell: truth.to_owned(),
                expected: "one of the classes",
            }
            .into());
        };
        let scores = row.iter().skip(FIXED.len());
        let scores = scores.map(|cell| {
            cell.parse().map_err(|_| ErrorKind::Cell {
                line,
                cell: cell.to_owned(),
                expected: "a number",
            })
        });
        items.push(Scored {
            item: row[0].to_owned(),
            group: Some(row[1].to_owned()).filter(|group| !group.is_empty()),
            target,
            scores: scores.collect::<Result<_, _>>()?,
        });
    }
    check_items(classes.len(), &items)?;
    Ok((classes, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(csv: &str, message: &str) {
        let error = read_predictions(csv.as_bytes()).expect_err(csv);
        let text = error.kind().to_string();
        assert!(text.contains(message), "{text}");
    }

    #[test]
    fn what_was_written_is_read_back() {
        let classes = ["up".to_owned(), "a, \"b\"".to_owned()];
        let items = [
            Scored {
                item: "x, y.mp4".into(),
                group: Some("gate".into()),
                target: 1,
                scores: vec![0.1, 0.9],
            },
            Scored {
                item: "z".into(),
                group: None,
                target: 0,
                scores: vec![1.0 / 3.0, 2.0 / 3.0],
            },
        ];
        let read = read_predictions(&predictions_csv(&classes, &items)).expect("its own CSV");
        assert_eq!(read, (classes.to_vec(), items.to_vec()));
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        let head = "item,group,truth,predicted,correct,confidence,score_a,score_b\n";
        check_refused("path,label\na,b\n", "[path, label]");
        check_refused(
            "item,group,truth,predicted,correct,confidence,a,b\n",
            "score_",
        );
        check_refused("", "[]");
        check_refused(head, "no items");
        check_refused(&format!("{head}x,,c,a,true,0.5,0.5,0.5\n"), "line 2: \"c\"");
        check_refused(
            &format!("{head}x,,a,a,true,0.5,half,0.5\n"),
            "line 2: \"half\"",
        );
        check_refused(&format!("{head}x,,a,a,true,0.5,nan,0.5\n"), "not finite");
        check_refused(
            &format!("{head}x,,a,a,true,0.5,0.5\n"),
            "not CSV with one row",
        );
        let row = "x,,a,a,true,0.5,0.5,0.5\n";
        check_refused(&format!("{head}{row}{row}"), "twice");
    }

    #[test]
    fn a_row_says_what_was_predicted_and_whether_it_is_right() {
        let item = |name: &str, target, scores: [f32; 2]| Scored {
            item: name.to_owned(),
            group: None,
            target,
            scores: scores.to_vec(),
        };
        let classes = ["up".to_owned(), "a, b".to_owned()];
        let csv = predictions_csv(
            &classes,
            &[item("x", 0, [0.75, 0.25]), item("y", 0, [0.25, 0.75])],
        );
        let expect = "item,group,truth,predicted,correct,confidence,score_up,\"score_a, b\"\n\
                      x,,up,up,true,0.75,0.75,0.25\ny,,up,\"a, b\",false,0.75,0.25,0.75\n";
        assert_eq!(String::from_utf8(csv).expect("UTF-8"), expect);
    }
}
