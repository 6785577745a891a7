//! Where the model goes wrong, with clips: the largest confusions, the worst groups, the worst mistakes.

use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::Report;
use super::page::{Section, breakable, table};
use crate::plot::escape;
use crate::strip::{Explained, MAX_SIDE, Strip};
use crate::table::{count, percent, range};
use crate::{Confusion, GroupFigures, Mistake};

/// Most mistakes on the page; `report.json` has up to 100.
const MAX_MISTAKES: usize = 40;

/// Most groups on the page; `report.json` has all.
const MAX_GROUPS: usize = 12;

/// Height of the bars of weight over time, in pixels.
const BARS_PX: f32 = 26.0;

/// The pairs of classes that are mixed up most often.
pub(super) fn confusions(report: &Report) -> Option<Section> {
    if report.confusions.is_empty() {
        return None;
    }
    let pair = |confusion: &Confusion| {
        let films: String = confusion
            .examples
            .iter()
            .filter_map(|item| report.strip(item))
            .map(|strip| {
                let what = format!("{}, taken for {}", strip.item, confusion.predicted);
                film(strip, &strip.jpeg, &what)
            })
            .collect();
        let films = match films.as_str() {
            "" => String::new(),
            films => format!("<div class=\"films\">{films}</div>\n"),
        };
        format!(
            "<div class=\"pair\">\n<p><b>{}</b> taken for <b>{}</b><small>{} of {}</small></p>\n{films}</div>\n",
            breakable(&confusion.truth),
            breakable(&confusion.predicted),
            confusion.count,
            count(confusion.support, "item"),
        )
    };
    let pairs: String = report.confusions.iter().map(pair).collect();
    let shown = report
        .confusions
        .iter()
        .flat_map(|pair| &pair.examples)
        .any(|item| report.strip(item).is_some());
    let note = if shown {
        " The clips are those of which the model was surest, as it sees them."
    } else {
        ""
    };
    let body = format!(
        "<p>The classes that are mixed up most often.{note}</p>\n<div class=\"cards pairs\">\n{pairs}</div>\n"
    );
    Some(Section {
        heading: "What is taken for what",
        body,
    })
}

/// The groups, worst first.
pub(super) fn groups(report: &Report) -> Option<Section> {
    let groups = &report.classification.groups;
    // One group says nothing about groups.
    if groups.len() < 2 {
        return None;
    }
    let row = |group: &GroupFigures| {
        vec![
            breakable(&group.group),
            format!(
                "<b>{}</b><small>{}</small>",
                percent(group.accuracy),
                count(group.support, "item")
            ),
            format!("<span class=\"num\">{}</span>", range(&group.interval)),
            format!("<span class=\"num\">{}</span>", percent(group.baseline)),
        ]
    };
    let rows: Vec<_> = groups.iter().take(MAX_GROUPS).map(row).collect();
    let which = match groups.len() {
        len if len > MAX_GROUPS => format!("the {MAX_GROUPS} worst of {len}; report.json has all"),
        len => format!("all {len}"),
    };
    let body = format!(
        "<p>A model is as good as on its worst camera. A group is what items share, such as a camera or a source video; \
         here are {which}. The order is by the upper end of the interval, so that a group with one unlucky item does not \
         come first.</p>\n{}<p class=\"note\">Wilson's interval of the items of the group. Baseline: always {}.</p>\n",
        table(
            "named",
            &["Group", "Recognised", "95 % interval", "Baseline"],
            &rows
        ),
        escape(&format!(
            "{:?}",
            report.classification.classes[report.classification.majority_class]
        )),
    );
    Some(Section {
        heading: "Worst groups first",
        body,
    })
}

/// The mistakes of which the model was surest: with clips where there are any, then as a table.
pub(super) fn mistakes(report: &Report) -> Option<Section> {
    let classification = &report.classification;
    if classification.mistakes.is_empty() {
        return None;
    }
    let mistakes = &classification.mistakes;
    let shown = &mistakes[..mistakes.len().min(MAX_MISTAKES)];
    let worst = report.worst_mistakes();
    let cards: String = worst
        .iter()
        .filter_map(|mistake| Some(card(mistake, report.strip(&mistake.item)?)))
        .collect();
    let is_in_table =
        |mistake: &&Mistake| report.strip(&mistake.item).is_none() || !worst.contains(mistake);
    let rows: Vec<_> = shown.iter().filter(is_in_table).map(table_row).collect();
    let which = match classification.num_mistakes {
        all if all == shown.len() => "the most confident first".to_owned(),
        _ => format!("the {} most confident of them", shown.len()),
    };
    let mut body = format!(
        "<p>{} of {} wrong; {which}. Look at these first: they are mistakes of the model or of the \
         labels.</p>\n",
        classification.num_mistakes,
        count(classification.num_items, "item"),
    );
    let heads = ["Item", "Truth", "Prediction", "Score"];
    body += &cards_and_rows(report, &cards, &heads, &rows);
    Some(Section {
        heading: "Mistakes",
        body,
    })
}

/// Items with their clips as cards, and the others as rows of a table; nothing where there are none.
pub(super) fn cards_and_rows(
    report: &Report,
    cards: &str,
    heads: &[&str],
    rows: &[Vec<String>],
) -> String {
    let mut body = String::new();
    if !cards.is_empty() {
        body += &how_to_look(report);
        body += &format!("<div class=\"cards\">\n{cards}</div>\n");
    }
    if !rows.is_empty() {
        body += &table("words named", heads, rows);
    }
    body
}

/// What the pictures of a card show.
fn how_to_look(report: &Report) -> String {
    let is_explained = report.strips.iter().any(|strip| strip.explained.is_some());
    let heat = if is_explained {
        " Beside it, in orange, what in the picture spoke for the wrong answer (Grad-CAM: how much each place of the model's \
         last feature map raises the score of its answer), and below it when: the taller the bar, the more weight that part \
         of the clip had. It shows where the model looked, not why."
    } else {
        ""
    };
    format!(
        "<p class=\"note\">Each clip as the model sees it, cut and scaled; it stands still under the mouse.{heat}</p>\n"
    )
}

fn card(mistake: &Mistake, strip: &Strip) -> String {
    let words = format!(
        "<b>{}</b>, not {}<small>score {:.3}, of the truth {:.3}</small>",
        breakable(&mistake.predicted),
        breakable(&mistake.truth),
        mistake.score,
        mistake.truth_score,
    );
    let taken_for = &mistake.predicted;
    clip_card(strip, taken_for, mistake.group.as_deref(), &words)
}

/// A clip that was taken for a class, with what spoke for it where that is known, and `words` (HTML) below.
pub(super) fn clip_card(
    strip: &Strip,
    taken_for: &str,
    group: Option<&str>,
    words: &str,
) -> String {
    let item = &strip.item;
    let mut films = film(
        strip,
        &strip.jpeg,
        &format!("{item}, taken for {taken_for}"),
    );
    if let Some(explained) = &strip.explained {
        let what = format!("where {} was seen in {item}", explained.class);
        let _ = write!(
            films,
            "<div>{}{}</div>",
            film(strip, &explained.jpeg, &what),
            bars(strip, explained)
        );
    }
    let group = match group {
        Some(group) => format!("<small>{}</small>", breakable(group)),
        None => String::new(),
    };
    format!(
        "<div class=\"card\">\n<div class=\"films\">{films}</div>\n<p>{words}<small>{}</small>{group}</p>\n</div>\n",
        breakable(item),
    )
}

fn table_row(mistake: &Mistake) -> Vec<String> {
    let group = match &mistake.group {
        Some(group) => format!("<small>{}</small>", breakable(group)),
        None => String::new(),
    };
    vec![
        format!("{}{group}", breakable(&mistake.item)),
        breakable(&mistake.truth),
        breakable(&mistake.predicted),
        format!(
            "<b>{:.3}</b><small>truth {:.3}</small>",
            mistake.score, mistake.truth_score
        ),
    ]
}

/// A strip that plays; `what` says what it shows, for those who cannot see it.
fn film(strip: &Strip, jpeg: &[u8], what: &str) -> String {
    let [height, width] = shown_px(strip);
    let frames = strip.num_frames;
    format!(
        "<span class=\"film\" style=\"--n:{frames};width:{width}px\"><img src=\"data:image/jpeg;base64,{}\" \
         width=\"{}\" height=\"{height}\" alt=\"{}\"></span>",
        BASE64_STANDARD.encode(jpeg),
        width * frames,
        escape(what)
    )
}

/// `[height, width]` of a frame on the page: small ones are enlarged until the eye finds something in them.
fn shown_px(strip: &Strip) -> [usize; 2] {
    let longer = strip.size_px[0].max(strip.size_px[1]);
    strip
        .size_px
        .map(|side| ((side * MAX_SIDE + longer / 2) / longer).max(1))
}

/// The weight of each stretch of the clip as a row of bars.
fn bars(strip: &Strip, explained: &Explained) -> String {
    let [_, width] = shown_px(strip);
    let weights = &explained.over_time;
    let most = weights.iter().copied().fold(0.0, f32::max);
    let step = width as f32 / weights.len().max(1) as f32;
    let mut rects = String::new();
    for (idx, weight) in weights.iter().enumerate() {
        let height = if most > 0.0 {
            BARS_PX * weight / most
        } else {
            0.0
        };
        let _ = write!(
            rects,
            "<rect class=\"f1\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            idx as f32 * step,
            BARS_PX - height,
            (step - 1.0).max(step * 0.5),
        );
    }
    format!(
        "<svg class=\"plot bars\" role=\"img\" aria-label=\"weight over time\" width=\"{width}\" height=\"{BARS_PX}\" \
         viewBox=\"0 0 {width} {BARS_PX}\">{rects}<line class=\"axis\" x1=\"0\" y1=\"{BARS_PX}\" x2=\"{width}\" \
         y2=\"{BARS_PX}\"/></svg>"
    )
}
