//! Names that were meant: the nearest of those there are.

/// What to say of a name that does not exist.
pub fn unknown<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let near = names.map(|known| (distance(name, known), known)).min();
    // Farther than a third of its letters it is another word.
    match near.filter(|(distance, _)| distance * 3 <= name.chars().count().max(3)) {
        Some((_, known)) => instead(name, known),
        None => format!("`{name}` is not known"),
    }
}

/// What to say when it is clear what was meant.
pub fn instead(name: &str, meant: &str) -> String {
    format!("`{name}` is not known; did you mean `{meant}`?")
}

/// Letters to put in, take out or change to get from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let other = other.chars().collect::<Vec<_>>();
    let mut row = (0..=other.len()).collect::<Vec<_>>();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, &wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_noticed_and_another_word_is_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "rate"), 4);
        let names = || ["rate", "errors", "open_seconds"].into_iter();
        assert_eq!(unknown("eror", names()), "`eror` is not known");
        assert_eq!(unknown("error", names()), "`error` is not known; did you mean `errors`?");
        assert_eq!(
            unknown("open_second", names()),
            "`open_second` is not known; did you mean `open_seconds`?"
        );
        assert_eq!(unknown("temperature", names()), "`temperature` is not known");
    }
}
