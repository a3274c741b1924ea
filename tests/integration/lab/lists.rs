//! The prefix lists of the lab, which the daemon writes and BIRD reads.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::Lab;

/// The dummy prefixes of both lists.
const DUMMIES: [&str; 2] = ["10.189.200.255/32", "2001:db8::1/128"];

impl Lab {
    /// Writes both lists as the original does, with the dummies and these prefixes.
    pub(crate) fn write_list(&self, prefixes: &[&str]) {
        for family in 0..2 {
            let ours = prefixes.iter().filter(|prefix| usize::from(prefix.contains(':')) == family);
            let listed: Vec<String> =
                std::iter::once(&DUMMIES[family]).chain(ours).map(|prefix| format!("        {prefix}")).collect();
            let variable = ["ACAST_PS_ADVERTISE", "ACAST6_PS_ADVERTISE"][family];
            let text = format!(
                "# Generated 2026-11-22 08:41:54.123456 by anycast-healthchecker (pid=123)\n\
                 # {} is a dummy IP Prefix. It should NOT be used and REMOVED from the constant.\n\
                 define {variable} =\n    [\n{}\n    ];\n",
                DUMMIES[family],
                listed.join(",\n")
            );
            fs::write(self.list_path(family), text).unwrap();
        }
    }

    /// Writes the lists, reconfigures BIRD, and waits for the routes.
    pub(crate) fn advertise(&self, prefixes: &[&str]) {
        self.write_list(prefixes);
        self.birdc(&["configure"]);
        prefixes.iter().for_each(|prefix| self.wait_advertised(prefix));
    }

    /// The path of the list of IPv4 (0) or IPv6 (1).
    pub(crate) fn list_path(&self, family: usize) -> PathBuf {
        self.file(["anycast-prefixes.conf", "6/anycast-prefixes.conf"][family])
    }

    /// The path of a list as the tests see it, even if something is mounted over it on the host.
    pub(crate) fn list_on_host(&self, family: usize) -> PathBuf {
        self.namespaces.path(&self.list_path(family))
    }

    /// The prefixes in both lists without the dummies. `None` if a list is missing or has lost its
    /// dummy.
    pub(crate) fn listed(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for (family, dummy) in DUMMIES.iter().enumerate() {
            let prefixes = prefixes_in(&fs::read_to_string(self.list_on_host(family)).ok()?);
            if !prefixes.contains(*dummy) {
                return None;
            }
            all.extend(prefixes.into_iter().filter(|prefix| prefix != dummy));
        }
        Some(all)
    }

    /// Waits until the lists hold exactly these prefixes.
    pub(crate) fn wait_listed(&self, prefixes: &[&str]) {
        let wanted: BTreeSet<String> = prefixes.iter().map(|prefix| prefix.to_string()).collect();
        self.wait_until(&format!("the lists to hold {prefixes:?}"), |lab| lab.listed().as_ref() == Some(&wanted));
    }
}

/// All prefixes in a list, without comments.
pub(crate) fn prefixes_in(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split([' ', ',', '[', ']', ';']));
    words.filter(|word| word.contains('/')).map(str::to_string).collect()
}
