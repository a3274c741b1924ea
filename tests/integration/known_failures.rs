//! Known failures of the Python program: for each one a test shows that it cannot happen here.
//!
//! | | failure | shown by |
//! |---|---|---|
//! | 1 | birdc fails once, and a dead service stays advertised | `bird::a_reconfigure_command_that_fails_is_tried_again` |
//! | 2 | a missing command or a lack of descriptors or processes ends the daemon | `known_failures::resources::failure_02_no_descriptors_for_a_while` `known_failures::resources::failure_02_no_processes_for_a_while` `known_failures::resources::failure_02_a_check_command_that_vanishes` |
//! | 3 | a full disk under the list ends it at each restart | `known_failures::resources::failure_03_a_restart_with_a_full_disk_under_the_list` `lists::a_change_is_written_once_a_full_disk_under_the_list_has_space` |
//! | 4 | a full disk under the log blocks the checks | `known_failures::resources::failure_04_a_full_disk_under_the_log` |
//! | 5 | it cannot kill a hanging birdc that runs as root, and dies | `known_failures::resources::failure_05_a_reconfigure_command_that_cannot_be_killed` |
//! | 6 | on an interface that does not exist, the prefix counts as assigned | `checks::a_service_on_an_interface_that_does_not_exist_is_not_advertised` `addresses::addresses_count_as_assigned_until_the_kernel_has_answered` |
//! | 7 | a list that is overwritten is never repaired | `lists::a_damaged_list_is_repaired_and_no_route_moves` |
//! | 8 | after a boot, a dead service attracts traffic until its checks have failed | `known_failures::process::failure_08_a_service_that_died_before_a_boot_attracts_no_traffic` `leaving::the_list_is_discarded_after_a_boot_and_kept_after_a_restart` |
//! | 9 | killed between list and birdc: list and BIRD differ permanently | `bird::a_change_that_bird_missed_before_the_daemon_was_killed_reaches_it_at_the_next_start` |
//! | 10 | HUP is a clean exit, after which nothing starts it again | `known_failures::process::failure_10_sighup_does_not_end_the_daemon` `reload::no_route_of_an_unchanged_service_moves_in_fifty_reloads` |
//! | 11 | children of a check that timed out survive | `checks::a_check_that_hangs_fails_and_is_killed_with_its_grandchildren` |
//! | 12 | a good check with a child in the background counts as timed out | `checks::a_check_that_passes_and_leaves_a_child_with_its_output_open_counts_as_passed` |
//! | 13 | a check with much output fills the memory | `known_failures::resources::failure_13_a_check_with_much_output_takes_no_memory` |
//! | 14 | a mass failure runs birdc once for each service | `known_failures::bird::failure_14_a_mass_failure_needs_few_reconfigures` |
//! | 15 | one slow custom command blocks all others | `known_failures::bird::failure_15_a_custom_command_that_hangs_delays_others_by_its_timeout_at_most` `known_failures::bird::failure_15_a_custom_command_that_ignores_term_is_killed` |
//! | 16 | a stale pidfile with the id of another process prevents the start | `process::a_stale_pidfile_with_the_id_of_another_process_does_not_prevent_a_start` |
//! | 17 | values that never withdraw, misspelled options and unreadable files are accepted | `known_failures::process::failure_17_harmful_values_are_refused` `configuration::files_that_cannot_be_read_are_errors` |
//! | 18 | a list that is empty or on one line withdraws everything | `known_failures::bird::failure_18_a_list_on_one_line_moves_no_route` `lists::a_list_emptied_while_the_daemon_was_down_moves_no_route` |
//! | 19 | the directory of the history vanishes, and the daemon dies | `lists::a_vanished_history_directory_delays_no_change` |
//! | 20 | a step of the clock shifts the checks | `known_failures::process::failure_20_a_step_of_the_clock_stops_no_check` |
//! | 21 | the list is written without fsync, and BIRD cannot read it | `known_failures::process::failure_21_every_user_can_read_the_list_whatever_the_umask` `faults::the_new_list_is_synced_before_it_replaces_the_old_one` |
//! | 22 | the metrics report state 1 after the daemon has died | `known_failures::process::failure_22_the_metrics_show_failures_and_the_end_of_the_daemon` |
//! | 23 | --check runs checks and creates files | `configuration::check_and_print_change_nothing` |
//! | 24 | "Reconfiguration in progress" counts as an error | `known_failures::bird::failure_24_a_reconfigure_in_progress_is_not_an_error` `birdc::the_words_of_bird_decide_and_not_the_exit_code` |
//! | 25 | a running check misses a signal to check now | `checks::a_check_that_runs_when_sigurg_arrives_is_run_again` |

mod bird;
mod process;
mod resources;

use std::fs;

use crate::lab::service::Service;

const WEB: &str = "10.52.12.1/32";
const OTHER: &str = "10.52.12.2/32";

fn web() -> Service {
    Service::new("web", WEB)
}

fn other() -> Service {
    Service::new("other", OTHER)
}

/// Each test in the table exists.
#[test]
fn every_failure_has_its_test() {
    let source = |module: &str| {
        let path = match module {
            "configuration" => "tests/configuration.rs".to_string(),
            "birdc" => "src/bird/protocol/birdc/tests.rs".to_string(),
            "addresses" => "src/check/addresses/tests.rs".to_string(),
            _ => format!("tests/integration/{}.rs", module.replace("::", "/")),
        };
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let table: Vec<&str> =
        include_str!("known_failures.rs").lines().filter(|line| line.starts_with("//! | ")).collect();
    assert_eq!(table.len(), 1 + 25, "the table has a header and 25 rows");
    for (number, line) in table.iter().enumerate().skip(1) {
        assert!(line.starts_with(&format!("//! | {number} |")), "{line}");
        let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{line}");
        for name in named {
            let (module, test) = name.rsplit_once("::").unwrap();
            assert!(source(module).contains(&format!("#[test]\nfn {test}()")), "there is no test {name}");
        }
    }
}
