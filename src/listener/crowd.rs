//! Who is connected, and who makes way when the connection cap is near: connections without a request in progress,
//! first those of the peer that has the most, of these the one that has been idle for longest. So neither kept nor
//! silent connections lock others out, and a peer that takes every place loses its own first. A load balancer that is
//! the only peer loses nothing by that but connections that it does not use.
//!
//! The choice is pure. A look costs as much as there are connections, so one look chooses many, and one that found too
//! few is not repeated for a while.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use super::activity::{Activity, Standing};
use super::deadline::FIRST_BYTE_GRACE;

/// Idle connections are closed so that this part of the cap stays free.
const RESERVE_PART: usize = 16;
/// How many one look chooses beyond what is missing, as a part of the cap.
const BATCH_PART: usize = 64;
/// A connection that was used within this time is not idle: its client is about to send again. While others wait for
/// room a shorter time has to do.
const KEPT_GRACE: Duration = Duration::from_secs(1);
const KEPT_GRACE_AT_THE_CAP: Duration = Duration::from_millis(100);
/// The same for one that has sent nothing yet: its first bytes come with the end of its handshake, or soon after.
const UNHEARD_GRACE_AT_THE_CAP: Duration = Duration::from_millis(250);
/// How long until the next look after one that found too few.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// For what room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// For those to come.
    Reserve,
    /// For one that waits.
    Place,
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Crowd {
    cap: usize,
    members: HashMap<Id, Member>,
    /// Those that were chosen and are still there.
    n_leaving: usize,
    /// Whether the last look found as many as it looked for, and when to look again if not.
    found_enough: bool,
    next_look: Instant,
}

#[derive(Debug)]
struct Member {
    peer: Peer,
    activity: Arc<Activity>,
    is_leaving: bool,
    /// Its next answer says that it is the last.
    was_asked: bool,
}

/// Whom an address belongs to: with IPv6 a whole network of them is one customer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Peer(u128);

impl Peer {
    fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u128::from(address.to_bits())),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

impl Crowd {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            cap,
            members: HashMap::new(),
            n_leaving: 0,
            found_enough: true,
            next_look: Instant::now(),
        }
    }

    pub(super) fn enter(&mut self, id: Id, peer: IpAddr, activity: Arc<Activity>) {
        let peer = Peer::new(peer);
        self.members.insert(id, Member { peer, activity, is_leaving: false, was_asked: false });
    }

    pub(super) fn leave(&mut self, id: Id) {
        if self.members.remove(&id).is_some_and(|member| member.is_leaving) {
            self.n_leaving -= 1;
        }
    }

    /// Has connections make way, where that is needed and has not been done already.
    pub(super) fn make_room(&mut self, n_free: usize, need: Need) {
        let batch = (self.cap / BATCH_PART).max(1);
        let reserve = self.cap / RESERVE_PART;
        let n_coming = n_free + self.n_leaving;
        let n_wanted = match need {
            Need::Reserve if n_coming >= reserve => return,
            Need::Reserve => reserve - n_coming + batch,
            Need::Place => batch,
        };
        let now = Instant::now();
        let must_wait = !self.found_enough || (need == Need::Place && self.n_leaving > 0);
        if must_wait && now < self.next_look {
            return;
        }
        let chosen = self.choose(need, n_wanted, now);
        self.found_enough = chosen.len() >= n_wanted;
        self.next_look = now + LOOK_AGAIN;
        if chosen.is_empty() && need == Need::Place {
            self.ask_the_busy(n_wanted);
        }
        for id in chosen {
            if let Some(member) = self.members.get_mut(&id) {
                member.is_leaving = true;
                member.activity.make_way();
                self.n_leaving += 1;
            }
        }
    }

    fn choose(&self, need: Need, n_wanted: usize, now: Instant) -> Vec<Id> {
        let idle = |(id, member): (&Id, &Member)| {
            let since = idle_since(member.activity.standing(), need, now)?;
            (!member.is_leaving).then_some((member.peer, since, *id))
        };
        let idle: Vec<_> = self.members.iter().filter_map(idle).collect();
        choose(self.holdings(), idle, n_wanted)
    }

    /// Nobody is idle: some of the peer that has the most are told with their next answer to come again. That loses
    /// nothing, and in the meantime others have their turn.
    fn ask_the_busy(&mut self, n_wanted: usize) {
        let holdings = self.holdings();
        let most = holdings.iter().max_by_key(|(peer, n)| (**n, Reverse(**peer)));
        let Some(most) = most.map(|(peer, _)| *peer) else { return };
        let of_most = self.members.values_mut().filter(|it| it.peer == most && !it.was_asked);
        for member in of_most.take(n_wanted) {
            member.was_asked = true;
            member.activity.make_way_after_its_answer();
        }
    }

    /// How many connections each peer has that stay.
    fn holdings(&self) -> HashMap<Peer, usize> {
        let mut holdings = HashMap::new();
        for member in self.members.values().filter(|member| !member.is_leaving) {
            *holdings.entry(member.peer).or_insert(0) += 1;
        }
        holdings
    }
}

/// Since when a connection has been idle, if it may make way.
fn idle_since(standing: Standing, need: Need, now: Instant) -> Option<Instant> {
    let (since, grace) = match (standing, need) {
        (Standing::Kept { since }, Need::Reserve) => (since, KEPT_GRACE),
        (Standing::Kept { since }, Need::Place) => (since, KEPT_GRACE_AT_THE_CAP),
        (Standing::Unheard { since }, Need::Reserve) => (since, FIRST_BYTE_GRACE),
        (Standing::Unheard { since }, Need::Place) => (since, UNHEARD_GRACE_AT_THE_CAP),
        (Standing::Busy, _) => return None,
    };
    (now.saturating_duration_since(since) >= grace).then_some(since)
}

/// At most `n_wanted` of the idle ones: always of the peer that has most left, the longest idle first.
fn choose<I: Copy + Ord>(
    mut holdings: HashMap<Peer, usize>,
    mut idle: Vec<(Peer, Instant, I)>,
    n_wanted: usize,
) -> Vec<I> {
    idle.sort_unstable_by_key(|(_, since, id)| (*since, *id));
    let mut queues: HashMap<Peer, VecDeque<(Instant, I)>> = HashMap::new();
    for (peer, since, id) in idle {
        queues.entry(peer).or_default().push_back((since, id));
    }
    let rank = |n_left: usize, queue: &VecDeque<(Instant, I)>, peer: Peer| {
        queue.front().map(|(since, _)| (n_left, Reverse(*since), peer))
    };
    let left = |holdings: &HashMap<Peer, usize>, peer| holdings.get(&peer).copied().unwrap_or(0);
    let first =
        queues.iter().filter_map(|(peer, queue)| rank(left(&holdings, *peer), queue, *peer));
    let mut peers: BinaryHeap<_> = first.collect();
    let mut chosen = Vec::new();
    while chosen.len() < n_wanted {
        let Some((n_left, _, peer)) = peers.pop() else { break };
        let Some(queue) = queues.get_mut(&peer) else { break };
        chosen.extend(queue.pop_front().map(|(_, id)| id));
        let n_left = n_left.saturating_sub(1);
        holdings.insert(peer, n_left);
        peers.extend(rank(n_left, queue, peer));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::options::ListenerOptions;

    fn at(seconds: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    /// Idle connections as (peer, idle since, number); `busy` as (peer, how many).
    #[track_caller]
    fn check(idle: &[(u128, u64, u32)], busy: &[(u128, usize)], n_wanted: usize, expected: &[u32]) {
        let mut holdings: HashMap<Peer, usize> = HashMap::new();
        for (peer, ..) in idle {
            *holdings.entry(Peer(*peer)).or_insert(0) += 1;
        }
        for (peer, n_busy) in busy {
            *holdings.entry(Peer(*peer)).or_insert(0) += n_busy;
        }
        let idle = idle.iter().map(|(peer, since, id)| (Peer(*peer), at(*since), *id)).collect();
        assert_eq!(choose(holdings, idle, n_wanted), expected);
    }

    #[test]
    fn the_longest_idle_of_the_largest_holder_goes_first() {
        check(&[(1, 5, 10), (1, 3, 11), (1, 4, 12)], &[], 2, &[11, 12]);
        check(&[(1, 1, 10), (2, 5, 20), (2, 4, 21)], &[], 1, &[21]);
        // With as many left, the one that has been idle for longer.
        check(&[(1, 1, 10), (2, 5, 20), (2, 4, 21)], &[], 3, &[21, 10, 20]);
        // Busy connections count for their peer, and none of them is chosen.
        check(&[(1, 1, 10), (2, 5, 20)], &[(2, 7)], 1, &[20]);
        check(&[(1, 1, 10), (2, 5, 20)], &[(2, 7)], 9, &[20, 10]);
        check(&[(1, 1, 10)], &[(2, 7)], 1, &[10]);
        check(&[], &[(2, 7)], 1, &[]);
        check(&[(1, 1, 10)], &[], 0, &[]);
    }

    #[test]
    fn what_was_used_just_now_is_not_idle() {
        #[track_caller]
        fn check(standing: Standing, millis: u64, expected: (bool, bool)) {
            let now = at(10) + Duration::from_millis(millis);
            let may_go = |need| idle_since(standing, need, now).is_some();
            assert_eq!((may_go(Need::Reserve), may_go(Need::Place)), expected);
        }
        let (kept, unheard) =
            (Standing::Kept { since: at(10) }, Standing::Unheard { since: at(10) });
        check(kept, 99, (false, false));
        check(kept, 100, (false, true));
        check(kept, 1000, (true, true));
        check(unheard, 249, (false, false));
        check(unheard, 250, (false, true));
        check(unheard, 999, (false, true));
        check(unheard, 1000, (true, true));
        check(Standing::Busy, 100_000, (false, false));
    }

    /// A crowd of kept connections of one peer, with the activities in the order in which they fell idle.
    async fn kept(cap: usize, n_kept: usize) -> (Crowd, Vec<Arc<Activity>>) {
        let mut crowd = Crowd::new(cap);
        let mut activities = Vec::new();
        for _ in 0..n_kept {
            let activity = Arc::new(Activity::new(&ListenerOptions::default()));
            activity.head_released(None);
            activity.called();
            activity.finished();
            let task = tokio::spawn(std::future::pending::<()>());
            crowd.enter(task.id(), [127, 0, 0, 1].into(), Arc::clone(&activity));
            activities.push(activity);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        (crowd, activities)
    }

    fn chosen(activities: &[Arc<Activity>]) -> Vec<usize> {
        (0..activities.len()).filter(|idx| activities[*idx].makes_way()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_the_cap_is_kept_free() {
        let (mut crowd, activities) = kept(64, 62).await;
        crowd.make_room(2, Need::Reserve);
        assert!(chosen(&activities).is_empty(), "nobody has been idle for long");
        tokio::time::advance(KEPT_GRACE).await;
        crowd.make_room(4, Need::Reserve);
        assert!(chosen(&activities).is_empty(), "a sixteenth is free");
        crowd.make_room(2, Need::Reserve);
        assert_eq!(chosen(&activities), [0, 1, 2], "two are missing, and one more in one go");
        crowd.make_room(2, Need::Reserve);
        assert_eq!(chosen(&activities).len(), 3, "they are on their way already");
        crowd.make_room(0, Need::Reserve);
        assert_eq!(chosen(&activities).len(), 5, "what is missing beyond them goes too");
    }

    #[tokio::test(start_paused = true)]
    async fn whom_nobody_makes_way_for_looks_again() {
        let (mut crowd, activities) = kept(2, 2).await;
        activities.iter().for_each(|activity| activity.head_released(None));
        crowd.make_room(0, Need::Place);
        let says_close = |idx: usize| {
            activities[idx].called();
            activities[idx].is_last_answer()
        };
        let n_asked = usize::from(says_close(0)) + usize::from(says_close(1));
        assert_eq!(n_asked, 1, "one is told with its answer to come again");
        activities.iter().for_each(|activity| activity.finished());
        tokio::time::advance(KEPT_GRACE_AT_THE_CAP).await;
        crowd.make_room(0, Need::Place);
        let deadline = |idx: usize| activities[idx].deadline().expect("idle").0;
        assert!(deadline(0).min(deadline(1)) <= Instant::now(), "what has fallen idle goes");
    }

    #[test]
    fn a_network_is_one_peer() {
        let same =
            |a: &str, b: &str| Peer::new(a.parse().unwrap()) == Peer::new(b.parse().unwrap());
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::2"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    }
}
