//! `compare.html`.

use super::text::{evidence, mcnemar_sentence, verdict};
use super::{Changed, RunsCompared, Versus};
use crate::Standing;
use crate::plot::escape;
use crate::report::page::{
    Head, Section, breakable, capitalised, document, figure, table, unbroken,
};
use crate::table::count;

/// Most changed items on the page; `compare.json` has up to 100.
const MAX_CHANGED: usize = 40;

pub(super) fn page(runs: &RunsCompared) -> String {
    let names: Vec<&str> = runs.runs.iter().map(|run| run.name.as_str()).collect();
    let title = names.join(" beside ");
    let head = Head {
        title: &title,
        heading: &format!("{title}: {}", evidence(runs)),
        version: env!("CARGO_PKG_VERSION"),
        files: "compare.json",
    };
    let mut top = String::new();
    for versus in &runs.versus {
        let mood = match versus.standing(&runs.headline) {
            Some(Standing::Above) => "above",
            Some(Standing::Below) => "below",
            Some(Standing::Undecided) | None => "undecided",
        };
        top += &format!(
            "<div class=\"verdict {mood}\">\n<p>{}</p>\n</div>\n",
            unbroken(&escape(&verdict(runs, versus)))
        );
    }
    let notes: String = runs
        .notes
        .iter()
        .map(|note| format!("<li>{}</li>\n", escape(&capitalised(note))))
        .collect();
    if !notes.is_empty() {
        top += &format!("<ul class=\"warnings\">\n{notes}</ul>\n");
    }
    let mut sections = vec![figures(runs), differences(runs)];
    sections.extend(changed(runs));
    sections.push(words());
    document(&head, &top, &sections)
}

fn figures(runs: &RunsCompared) -> Section {
    let names: Vec<String> = runs.runs.iter().map(|run| breakable(&run.name)).collect();
    let mut heads = vec!["Figure"];
    heads.extend(names.iter().map(String::as_str));
    heads.push("Baseline");
    let first = &runs.runs[0];
    let rows: Vec<Vec<String>> = first
        .figures
        .iter()
        .filter(|figure| figure.name != "macro_recall")
        .map(|figure| {
            let mut row = vec![escape(&capitalised(&figure.title))];
            let same = runs
                .runs
                .iter()
                .filter_map(|run| run.figures.iter().find(|other| other.name == figure.name));
            row.extend(same.map(|figure| {
                format!(
                    "<b>{}</b><small>{}</small>",
                    figure.scale.text(figure.value),
                    figure.scale.range_text(&figure.widest_interval())
                )
            }));
            row.push(format!(
                "<span class=\"num\">{}</span>",
                figure.scale.text(figure.baseline.value)
            ));
            row
        })
        .collect();
    let body = format!(
        "{}{}<p class=\"note\">Under each figure its 95 % interval. Baseline: {}.</p>\n",
        figure(&runs.plots(), "runs"),
        table("", &heads, &rows),
        first
            .figures
            .first()
            .map(|figure| escape(&figure.baseline.name))
            .unwrap_or_default(),
    );
    Section {
        heading: "Figures",
        body,
    }
}

fn differences(runs: &RunsCompared) -> Section {
    let mut body = figure(&runs.plots(), "differences");
    for versus in &runs.versus {
        let rows: Vec<Vec<String>> = versus
            .comparison
            .differences
            .iter()
            .filter(|difference| difference.figure != "macro_recall")
            .map(|difference| {
                vec![
                    escape(&capitalised(&difference.title)),
                    difference.scale.text(difference.baseline),
                    difference.scale.text(difference.model),
                    format!(
                        "<b>{}{}</b><small>{}</small>",
                        difference.scale.difference_text(difference.difference),
                        difference.scale.difference_unit(),
                        difference.scale.difference_range_text(&difference.interval)
                    ),
                ]
            })
            .collect();
        let (first, run) = (breakable(&versus.comparison.name), breakable(&versus.run));
        body += &format!(
            "<h3>{run} beside {first}</h3>\n{}<p>{}.</p>\n",
            table("", &["Figure", &first, &run, "Difference"], &rows),
            escape(&mcnemar_sentence(versus)),
        );
    }
    Section {
        heading: "Differences",
        body,
    }
}

fn changed(runs: &RunsCompared) -> Option<Section> {
    let body: String = runs
        .versus
        .iter()
        .filter(|versus| versus.num_changed > 0)
        .map(changed_by)
        .collect();
    if body.is_empty() {
        return None;
    }
    let intro = "<p>Items that one of the two recognised and the other did not.</p>\n";
    Some(Section {
        heading: "What changed",
        body: format!("{intro}{body}"),
    })
}

fn changed_by(versus: &Versus) -> String {
    let row = |changed: &Changed| {
        let group = match &changed.group {
            Some(group) => format!("<small>{}</small>", breakable(group)),
            None => String::new(),
        };
        let answer = |answer: &String| match *answer == changed.truth {
            true => format!("<b>{}</b>", breakable(answer)),
            false => breakable(answer),
        };
        vec![
            format!("{}{group}", breakable(&changed.item)),
            breakable(&changed.truth),
            answer(&changed.first),
            answer(&changed.other),
        ]
    };
    let rows: Vec<Vec<String>> = versus.changed.iter().take(MAX_CHANGED).map(row).collect();
    let (first, run) = (breakable(&versus.comparison.name), breakable(&versus.run));
    format!(
        "<h3>{run} beside {first}: {}, {} shown</h3>\n{}",
        count(versus.num_changed, "item"),
        rows.len(),
        table("words named", &["Item", "Truth", &first, &run], &rows)
    )
}

fn words() -> Section {
    let body = "<dl>\n<dt>Difference</dt><dd>The figure of the later run less that of the first, in points of a per cent. Its \
                interval comes from drawing groups (or items, where no groups are known) again and again, the same for both \
                runs, so it is narrower than the two intervals suggest. Where it holds 0, these items do not show a \
                difference.</dd>\n<dt>McNemar's exact test</dt><dd>Looks only at items that one of the two recognised and the \
                other did not. p is the probability of a split at least as uneven if both were equally good; below 0.05 is \
                usually called a difference. With several runs it is raised by Holm's rule, since who looks often finds \
                something.</dd>\n<dt>Baseline</dt><dd>What always giving the most frequent answer would \
                get.</dd>\n<dt>95&nbsp;% interval</dt><dd>The range in which the figure would fall for about 95 of 100 other \
                sets of items like these.</dd>\n</dl>\n";
    Section {
        heading: "Words on this page",
        body: body.to_owned(),
    }
}
