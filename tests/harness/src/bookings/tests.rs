//! The file is what `data/NOTICE.md` says, traps included; a row that is not in its shape is refused.

use super::*;

fn all() -> Vec<Booking> {
    read(CSV).unwrap()
}

fn count(what: impl Fn(&Booking) -> bool) -> usize {
    all().iter().filter(|booking| what(booking)).count()
}

#[test]
fn the_file_has_its_rows_and_its_ends() {
    assert_eq!(all().len(), 5_212);
    assert_eq!(count(|booking| booking.hotel == Hotel::City), 3_326);
    assert_eq!(count(|booking| booking.end == End::CheckedOut), 3_302);
    assert_eq!(count(|booking| booking.end == End::Cancelled), 1_812);
    assert_eq!(count(|booking| booking.end == End::NoShow), 98);
    assert_eq!(all().iter().map(|booking| booking.changes).sum::<u32>(), 1_438);
}

#[test]
fn the_traps_are_kept() {
    assert_eq!(count(Booking::is_day_use), 48);
    assert_eq!(count(|booking| booking.persons() == 0), 27);
    assert_eq!(count(|booking| booking.rate.is_sign_negative()), 1);
    assert_eq!(count(|booking| booking.adults == 0 && booking.persons() > 0), 9);
    assert_eq!(count(|booking| booking.children.is_none()), 4);
    assert_eq!(count(|booking| booking.country.is_none()), 46);
    assert_eq!(count(|booking| booking.adults == 55), 1);
    assert_eq!(count(|booking| booking.rate == Decimal::from(5_400)), 1);
    let left_early =
        |booking: &Booking| booking.end == End::CheckedOut && booking.ended_on < booking.departure();
    assert_eq!(count(left_early), 2);
}

#[test]
fn the_first_row_is_read_to_the_letter() {
    let first = all().swap_remove(0);
    assert_eq!(
        (first.row, first.hotel, first.end),
        (1, Hotel::Resort, End::CheckedOut)
    );
    assert_eq!(first.booked_on.to_string(), "2014-07-24");
    assert_eq!(first.arrival.to_string(), "2015-07-01");
    assert_eq!((first.adults, first.children, first.babies), (2, Some(0), 0));
    assert_eq!(
        (first.room_booked, first.room_assigned, first.changes),
        ('C', 'C', 3)
    );
    assert_eq!(
        (first.agent, first.company, first.rate),
        (None, None, Decimal::ZERO)
    );
}

#[test]
fn a_row_out_of_shape_is_refused() {
    let mut lines = CSV.lines();
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let with = |from: &str, to: &str| {
        let changed = row.replacen(from, to, 1);
        assert_ne!(changed, row, "{from}");
        read(&format!("{header}\n{changed}\n"))
    };
    assert!(read(&format!("{header}\n{row}\n")).is_ok());
    for (from, to) in [
        ("Resort Hotel", "Motel"),
        ("July", "Juillet"),
        ("July,27,1,", "July,27,32,"),
        ("Hotel,0", "Hotel,2"),
        ("Hotel,0", "Hotel,1"),
        ("Check-Out", "Vanished"),
        ("2015-07-01", "2013-07-01"),
        ("NULL,NULL", "NA,NULL"),
    ] {
        let read = with(from, to);
        assert!(read.is_err(), "{from} -> {to}");
    }
}
