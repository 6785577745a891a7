//! The checks that the program makes on data, recipes and figures, and where each is enforced.

use serde::Serialize;

/// Where a [`Check`] is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforced {
    /// In the audit of the data.
    Audit,
    /// When data is read or a clip is loaded.
    Loading,
    /// When a recipe is read.
    Recipe,
    /// When a bundle is opened.
    Bundle,
    /// In training.
    Training,
    /// In every report.
    Report,
}

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its number.
    pub number: u8,
    /// What is asked.
    pub question: &'static str,
    /// Where.
    pub enforced: Enforced,
    /// How, in a few words.
    pub how: &'static str,
}

const fn check(number: u8, question: &'static str, enforced: Enforced, how: &'static str) -> Check {
    Check {
        number,
        question,
        enforced,
        how,
    }
}

/// All checks, in the order of their numbers.
pub const CHECKS: [Check; 22] = [
    check(
        1,
        "do splits share a group, source, recording, device, animal or place",
        Enforced::Audit,
        "a leak stops training; columns are known by their names, numbered files by their pattern",
    ),
    check(
        2,
        "do clips of two splits show the same time",
        Enforced::Audit,
        "the windows that the sampling draws, source by source",
    ),
    check(
        3,
        "do splits hold the same file or look-alikes",
        Enforced::Audit,
        "files by content; look-alikes from a list of pairs",
    ),
    check(
        4,
        "what does a predictor without eyes get",
        Enforced::Report,
        "majority and constant top 5 beside each figure, nearest in time where items have times; metadata alone in the audit",
    ),
    check(
        5,
        "does the model answer one class, or the same scores for many",
        Enforced::Report,
        "warnings of the report",
    ),
    check(
        6,
        "are there items without a box, and boxes smaller than the frame",
        Enforced::Audit,
        "for manifests with columns of boxes",
    ),
    check(
        7,
        "does the clip meet the event",
        Enforced::Audit,
        "spans at import; columns of file, offset and duration, and labels of whole videos beside their events, in the audit",
    ),
    check(
        8,
        "is the preprocessing that of training",
        Enforced::Bundle,
        "the card holds it with a fingerprint; nothing else is used",
    ),
    check(
        9,
        "are height and width in order",
        Enforced::Recipe,
        "sizes are written [height, width]; a crop larger than the picture is an error",
    ),
    check(
        10,
        "is the class order that of training",
        Enforced::Bundle,
        "the card holds the class list; judging on another one is an error",
    ),
    check(
        11,
        "are there pixels, times or rates that no sensor gives",
        Enforced::Audit,
        "drop-outs, irregular and missing frames, effective rate",
    ),
    check(
        12,
        "is every key known and read",
        Enforced::Recipe,
        "an unknown key, or one without effect, is an error",
    ),
    check(
        13,
        "do stored predictions agree with themselves",
        Enforced::Report,
        "predictions.csv is written from the scores that the figures are made of",
    ),
    check(
        14,
        "how sure is a figure",
        Enforced::Report,
        "Wilson and the bootstrap by group",
    ),
    check(
        15,
        "how often was the test split used",
        Enforced::Report,
        "the ledger beside the data; nothing in a recipe can choose by test",
    ),
    check(
        16,
        "was a figure measured",
        Enforced::Report,
        "only measured figures are printed, with the command and run that gave them",
    ),
    check(
        17,
        "is the loss finite",
        Enforced::Training,
        "a step that is not finite is not applied and ends the run with its step",
    ),
    check(
        18,
        "which classes have no item",
        Enforced::Audit,
        "by split",
    ),
    check(
        19,
        "are items repeated",
        Enforced::Audit,
        "a repeated item is an error, copies in a held-out split a warning",
    ),
    check(
        20,
        "is a temporal model given one frame",
        Enforced::Audit,
        "sampling.frames = 1 is a warning",
    ),
    check(
        21,
        "can every file be decoded",
        Enforced::Loading,
        "an unreadable clip ends the run, or is left out and listed; never replaced",
    ),
    check(
        22,
        "is nothing unpickled or left in the open",
        Enforced::Loading,
        "no label cache is read; weights by a pickle subset without code",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_numbered_in_order() {
        assert!(
            CHECKS
                .iter()
                .zip(1..)
                .all(|(check, number)| check.number == number)
        );
    }
}
