use super::*;

fn table<const N: usize>(rows: &[[&str; N]], width: usize) -> String {
    let rows: Vec<[Cell; N]> = rows.iter().map(|row| row.map(|cell| (cell.to_string(), None))).collect();
    let widths = widths(&rows, std::array::from_fn(|n| n), width);
    let mut text = String::new();
    rows.iter().for_each(|row| write_row(row, &widths, Paint(false), &mut text));
    text
}

#[test]
fn texts_are_wrapped_between_words() {
    let check = |text: &str, width: usize, expected: &[&str]| assert_eq!(wrap(text, width), expected, "{text:?}");
    check("", 5, &[""]);
    check("", 0, &[""]);
    check("a  b", 5, &["a  b"]);
    check("12345", 5, &["12345"]);
    check("12345 7", 5, &["12345", "7"]);
    check("123 567", 5, &["123", "567"]);
    check("1 3 567", 5, &["1 3", "567"]);
    check("123456789", 4, &["1234", "5678", "9"]);
    check("ab 123456789", 4, &["ab", "1234", "5678", "9"]);
    check("äöüß€", 2, &["äö", "üß", "€"]);
    check("ab    ", 3, &["ab"]);
    check("   abcd", 3, &["", "abc", "d"]);
    check("ab", 0, &["a", "b"]);
}

#[test]
fn a_column_is_as_wide_as_its_longest_cell_if_that_fits() {
    assert_eq!(table(&[["A", "B C", "D"], ["long", "", "x"]], 80), "A     B C  D\nlong       x\n");
}

#[test]
fn a_long_cell_continues_in_its_own_column() {
    let words = "several words that make a long cell";
    let expected = "\
a     several words that make a    third
name  long cell
b     x                            y
";
    assert_eq!(table(&[["a name", words, "third"], ["b", "x", "y"]], 40), expected);
}

#[test]
fn columns_are_narrowed_in_order_before_words_are_broken() {
    let cell = |length: usize, word: usize| -> Cell {
        let words: Vec<String> = (0..length.div_ceil(word + 1)).map(|_| "x".repeat(word)).collect();
        (words.join(" "), None)
    };
    let check = |row: [Cell; 2], width: usize, expected: [usize; 2]| {
        assert_eq!(widths([&row], [1, 0], width), expected, "{row:?}");
    };
    check([cell(9, 4), cell(9, 4)], 80, [9, 9]);
    check([cell(49, 4), cell(29, 4)], 80, [49, 29]);
    check([cell(49, 4), cell(29, 4)], 70, [49, 19]);
    check([cell(49, 4), cell(29, 4)], 42, [36, 4]);
    check([cell(60, 60), cell(20, 20)], 70, [48, 20]);
    check([cell(60, 60), cell(60, 60)], 40, [19, 19]);
    check([cell(500, 500), cell(4, 4)], 1000, [MAX_COLUMN, 4]);
    // A smaller width counts as the minimum.
    check([cell(60, 60), cell(60, 60)], 1, [19, 19]);
}

proptest::proptest! {
    #[test]
    fn rows_fit_and_keep_their_text(cells in proptest::collection::vec("[a-z ä]{0,60}", 12), width in MIN_WIDTH..120) {
        let rows: Vec<[&str; 6]> = cells.chunks(6).map(|row| std::array::from_fn(|n| row[n].trim())).collect();
        let text = table(&rows, width);
        for line in text.lines() {
            proptest::prop_assert!(line.chars().count() <= width, "{line}");
        }
        let letters = |text: &str| {
            let mut letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
            letters.sort_unstable();
            letters
        };
        proptest::prop_assert_eq!(letters(&text), letters(&rows.concat().concat()));
    }
}
