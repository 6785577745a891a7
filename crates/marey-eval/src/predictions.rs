//! `predictions.csv`: a row an item, for spreadsheets and scripts.

use crate::{Scored, counts::Outcome};

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
    let fixed = [
        "item",
        "group",
        "truth",
        "predicted",
        "correct",
        "confidence",
    ]
    .map(str::to_owned);
    write(
        fixed
            .into_iter()
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

#[cfg(test)]
mod tests {
    use super::*;

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
