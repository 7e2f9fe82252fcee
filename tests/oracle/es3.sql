-- The rules of the sample builder (docs/es3.md) as plain SQL for DuckDB: slow, whole-store, written from the rules and not
-- from the kernels. es3_oracle.py loads the tables named below, runs this file and compares table `rows` with what
-- `uniscale samples` published.
--
-- Loaded (ids, domains, queries, texts are BLOB: bytes, compared as unsigned; an empty id is null):
--   options      one row, a column an option of [es3]; durations in ms; search_domain
--   windows      action, window_ms: click, cart, purchase
--   confidences  domain, action, factor
--   sequences    sequence, actions, domains (lists; no domains: all)
--   requests     request_key, request_id, domain, user_id, ts_ms, query, context
--   candidates   request_key, item_id, position, score, draw_hash = stable_hash(request_id, item_id), candidate (struct)
--   events       event_key, event_id, domain, action, user_id, item_id, ts_ms, known_ms, request_id
--   items        item_id, ts_ms, title, category, embedding, item (struct)       all versions
--   users        user_id, ts_ms, user (struct)                                   all versions
--   texts        text, norm2, hash_hex = hex(stable_hash(text))                  every query and title
--   grams        text, dim, count                                                character 3-grams of `texts`

create macro day_of(ts_ms) as floor(ts_ms / 86400000.0)::bigint;
-- cosine >= threshold on integer counts: dot^2 >= threshold^2 n1 n2, with the threshold as the decimal that was written (to
-- nine digits): 0.2 is a fifth.
create macro billionths(threshold) as round(threshold * 1000000000)::hugeint;
create macro at_least(dot, threshold, n1, n2) as
  n1 > 0 and n2 > 0
  and dot::hugeint * dot::hugeint * 1000000000000000000::hugeint
      >= billionths(threshold) * billionths(threshold) * n1::hugeint * n2::hugeint;
create macro round_half_up(x) as floor(x + 0.5)::bigint;

-- ------------------------------------------------------------------------------------------------------------------------
-- §0, §5: the version of an item or a user that is valid at a time.

create table item_moments as
  select distinct c.item_id, r.ts_ms from candidates c join requests r using (request_key)
  union
  select distinct item_id, ts_ms from events;

create table item_at as
  select m.item_id, m.ts_ms, v.title, v.category, v.embedding, v.item
  from item_moments m
  asof left join items v on v.item_id = m.item_id and v.ts_ms <= m.ts_ms;

-- ------------------------------------------------------------------------------------------------------------------------
-- §1: which request of its own domain an event belongs to, or why to none. Native = the same in the search domain; the
-- same rule locates cross-domain events for §4.

create table label_events as
  select e.*, w.window_ms, e.domain = o.search_domain as is_search
  from events e join windows w using (action), options o;

create table longest as select max(window_ms) as window_ms from windows;

-- By request_id. An id may come again after days: requests within the longest window of the event; those of its own user
-- first; then the latest not later than the event (+ clock skew), else the earliest.
create table named as
  select event_key, request_key
  from (
    select e.event_key, r.request_key,
           row_number() over (partition by e.event_key order by
             coalesce(r.user_id = e.user_id, false) desc,
             r.ts_ms <= e.ts_ms + o.clock_skew desc,
             case when r.ts_ms <= e.ts_ms + o.clock_skew then -r.ts_ms else r.ts_ms end) as place
    from label_events e
    join requests r on r.domain = e.domain and r.request_id = e.request_id, options o, longest l
    where r.ts_ms between e.ts_ms - l.window_ms and e.ts_ms + l.window_ms + o.clock_skew
  )
  where place = 1;

-- Without one: the latest request of its user that exposed the item within native_window before it.
create table found as
  select event_key, request_key
  from (
    select e.event_key, r.request_key,
           row_number() over (partition by e.event_key order by r.ts_ms desc, r.request_id) as place
    from label_events e
    join requests r on r.domain = e.domain and r.user_id = e.user_id
    join candidates c on c.request_key = r.request_key and c.item_id = e.item_id and c.position is not null, options o
    where e.request_id is null and r.ts_ms between e.ts_ms - o.native_window and e.ts_ms
  )
  where place = 1;

create table places as
  select e.event_key, r.request_key,
         case
           when e.request_id is null then if(r.request_key is null, 'no_request_found', 'located')
           when r.request_key is null then 'unknown_request'
           when c.request_key is null then 'item_not_in_list'
           when c.position is null then 'not_exposed'
           when e.ts_ms < r.ts_ms - o.clock_skew then 'before_request'
           when e.ts_ms > r.ts_ms + e.window_ms then 'window_passed'
           else 'located'
         end as place
  from label_events e
  left join (select * from named union all select * from found) p using (event_key)
  left join requests r on r.request_key = p.request_key
  left join candidates c on c.request_key = p.request_key and c.item_id = e.item_id, options o;

-- Events in the request they belong to, of every domain.
create table located as
  select e.*, r.request_key, r.ts_ms as request_ts_ms, e.ts_ms - r.ts_ms as delay_ms, r.query, r.user_id as request_user_id
  from places p join label_events e using (event_key) join requests r on r.request_key = p.request_key
  where p.place = 'located';

create table native as select * from located where is_search;

-- ------------------------------------------------------------------------------------------------------------------------
-- §2: exposed candidates, and the draw from the others.

create table searches as
  select r.* from requests r, options o where r.domain = o.search_domain;

create table draw_sizes as
  select request_key,
         case when num_exposed = 0 then least(num_unexposed, o.unexposed_if_empty)
              else least(num_unexposed, round_half_up(o.unexposed_ratio * num_exposed), o.unexposed_cap) end as k
  from (
    select s.request_key, count(c.position) as num_exposed, count(c.item_id) - count(c.position) as num_unexposed
    from searches s left join candidates c using (request_key) group by s.request_key
  ), options o;

create table by_score as
  select c.request_key, c.item_id, c.draw_hash, d.k, round_half_up(o.hard_share * d.k) as num_hard,
         row_number() over (partition by c.request_key order by
           c.score is null or isnan(c.score), c.score desc, c.item_id) as score_place
  from candidates c join draw_sizes d using (request_key), options o
  where c.position is null;

create table drawn as
  select request_key, item_id from by_score where score_place <= num_hard
  union all
  select request_key, item_id
  from (
    select *, row_number() over (partition by request_key order by draw_hash, item_id) as hash_place
    from by_score where score_place > num_hard
  )
  where hash_place <= k - num_hard;

-- ------------------------------------------------------------------------------------------------------------------------
-- §3, §4: what was clicked natively, under which query, day by day. "Before" is by whole days: days [x - lookback, x). The
-- category is that of the version valid at the end of the click's day.

create table native_clicks as
  select n.event_key, day_of(n.ts_ms) as day, n.query, n.item_id, n.user_id, v.category
  from native n asof left join items v on v.item_id = n.item_id and v.ts_ms <= (day_of(n.ts_ms) + 1) * 86400000 - 1
  where n.action = 'click' and octet_length(n.query) > 0;

-- ------------------------------------------------------------------------------------------------------------------------
-- §3: attribution.

-- Cross-domain events and the orphans of §1.
create table foreign_events as
  select e.* from label_events e join places p using (event_key) where not e.is_search or p.place <> 'located';

-- 1. Samples of the event's user and item inside its window, with their native state as of the event.
create table met as
  select e.event_key, e.action, e.item_id, day_of(e.ts_ms) as event_day, r.request_key, r.request_id,
         r.ts_ms as request_ts_ms, r.query,
         c.position is not null as exposed,
         exists (from native n where n.request_key = r.request_key and n.item_id = e.item_id
                 and n.ts_ms <= e.ts_ms) as clicked,
         exists (from native n where n.request_key = r.request_key and n.item_id = e.item_id
                 and n.ts_ms <= e.ts_ms and (n.action = e.action or e.action = 'click')) as positive
  from foreign_events e
  join searches r on r.user_id = e.user_id and r.ts_ms between e.ts_ms - e.window_ms and e.ts_ms
  join candidates c on c.request_key = r.request_key and c.item_id = e.item_id
  left join drawn d on d.request_key = c.request_key and d.item_id = c.item_id, options o
  where o.attribution and (c.position is not null or o.attribute_undrawn or d.item_id is not null);

-- 2. The relevance gate on (query, item); the title and the category are those valid at the request.
create table gate_pairs as
  select distinct m.query, v.title from met m join item_at v on v.item_id = m.item_id and v.ts_ms = m.request_ts_ms
  where octet_length(m.query) > 0 and octet_length(v.title) > 0;

create table query_grams as
  select p.query, p.title, q.dim, q.count from gate_pairs p left join grams q on q.text = p.query;
create table gate_similar as
  select p.query, p.title
  from query_grams p join texts tq on tq.text = p.query join texts tt on tt.text = p.title
  left join grams t on t.text = p.title and t.dim = p.dim, options o
  group by p.query, p.title, tq.norm2, tt.norm2, o.gate_similarity
  having at_least(coalesce(sum(p.count * t.count), 0), o.gate_similarity, tq.norm2, tt.norm2);

create table gated as
  select m.*,
         case
           when o.relevance_gate = 'none' then true
           -- No title is known yet: nothing to compare.
           when o.relevance_gate in ('text', 'either')
             and not exists (from items i where i.title is not null and i.ts_ms <= m.request_ts_ms) then true
           else
             (o.relevance_gate in ('text', 'either') and exists (
                from gate_similar s where s.query = m.query and s.title = v.title))
             or (o.relevance_gate in ('co_click', 'either') and exists (
                from native_clicks k
                where k.query = m.query and (k.item_id = m.item_id or k.category = v.category)
                and k.day < m.event_day and k.day * 86400000 >= m.event_day * 86400000 - o.stats_lookback))
         end as open
  from met m left join item_at v on v.item_id = m.item_id and v.ts_ms = m.request_ts_ms, options o;

-- 3. Levels; in the first that is not empty the latest request.
create table chosen as
  select *
  from (
    select *, row_number() over (partition by event_key order by level, request_ts_ms desc, request_id) as place
    from (
      select *, case when not exposed then 3
                     when not clicked then 2
                     when action <> 'click' then 1 end as level
      from gated
    )
    where open and level is not null
  )
  where place = 1;

-- 4., 6. What becomes of the event.
create table outcomes as
  select e.event_key,
         case
           when c.event_key is not null and c.positive then 'already_labelled'
           when c.event_key is not null then 'credited'
           when exists (from met m where m.event_key = e.event_key and m.positive) then 'already_labelled'
           else 'left'
         end as outcome,
         c.request_key, c.level
  from foreign_events e left join chosen c using (event_key);

-- 5. One credit per (user, item, action, request); a request has one user.
create table credits as
  select *
  from (
    select e.*, u.request_key, u.level, e.ts_ms - r.ts_ms as delay_ms,
           row_number() over (partition by u.request_key, e.item_id, e.action order by e.ts_ms, e.event_id) as place
    from outcomes u join foreign_events e using (event_key) join requests r on r.request_key = u.request_key
    where u.outcome = 'credited'
  )
  where place = 1;

create macro faded(factor, delay_ms, half_life) as
  coalesce(factor, 1.0) * if(half_life > 0, pow(2.0, -(delay_ms / half_life)), 1.0);

-- Which action sets which label: itself, and the click by closure.
create table sets as
  from (values ('click'::blob, 'click'), ('cart', 'cart'), ('cart', 'click'), ('purchase', 'purchase'), ('purchase', 'click'))
  as t(action, task);

-- Native beats attributed; then the earliest.
create table search_labels as
  select request_key, item_id, task, source, domain, delay_ms, weight
  from (
    select *, row_number() over (partition by request_key, item_id, task order by source <> 1, ts_ms, event_id) as place
    from (
      select n.request_key, n.item_id, s.task, 1 as source, n.domain, n.delay_ms, 1.0 as weight, n.ts_ms, n.event_id
      from native n join sets s using (action)
      union all
      select c.request_key, c.item_id, s.task, c.level + 1, c.domain, c.delay_ms, faded(f.factor, c.delay_ms, o.half_life),
             c.ts_ms, c.event_id
      from credits c join sets s using (action)
      left join confidences f on f.domain = c.domain and f.action = c.action, options o
    )
  )
  where place = 1;

create table search_items as
  select c.request_key, c.request_key as row_key, c.item_id, if(c.position is null, 1, 0) as origin, 1.0 as zero_weight
  from candidates c join searches s using (request_key)
  left join drawn d on d.request_key = c.request_key and d.item_id = c.item_id
  where c.position is not null or d.item_id is not null
     or exists (from credits k where k.request_key = c.request_key and k.item_id = c.item_id);

-- ------------------------------------------------------------------------------------------------------------------------
-- §4: searchified requests.

-- The clicks: cross-domain, not used up by §3 (or used up too, reuse_attributed), located in their own request g.
create table cross_clicks as
  select l.*, l.request_key as g_key, l.request_ts_ms as g_ts_ms
  from located l join outcomes u using (event_key), options o
  where o.searchify and not l.is_search and l.action = 'click' and (u.outcome = 'left' or o.reuse_attributed);

-- Carts and purchases that nothing used label the latest such click of their user and item.
create table conversions as
  select click_key, event_key, event_id, domain, action, ts_ms, ts_ms - g_ts_ms as delay_ms
  from (
    select k.event_key as click_key, k.g_ts_ms, e.*,
           row_number() over (partition by e.event_key order by k.ts_ms desc, k.event_id) as place
    from foreign_events e join outcomes u using (event_key)
    join cross_clicks k on k.user_id = e.user_id and k.item_id = e.item_id
    where u.outcome = 'left' and e.action <> 'click'
      and k.ts_ms <= e.ts_ms and e.ts_ms <= k.g_ts_ms + e.window_ms
  )
  where place = 1;

-- Negatives: exposed in g, no located event of g, similar to the positive.
create table bystanders as
  select c.request_key as g_key, c.item_id
  from candidates c
  where c.request_key in (select g_key from cross_clicks) and c.position is not null
    and not exists (from located l where l.request_key = c.request_key and l.item_id = c.item_id);

create table pairs as
  select k.g_key, k.item_id as positive, b.item_id, p.title as title_1, n.title as title_2,
         p.category as category_1, n.category as category_2, p.embedding as embedding_1, n.embedding as embedding_2
  from (select distinct g_key, g_ts_ms, item_id from cross_clicks) k
  join bystanders b using (g_key)
  left join item_at p on p.item_id = k.item_id and p.ts_ms = k.g_ts_ms
  left join item_at n on n.item_id = b.item_id and n.ts_ms = k.g_ts_ms;

create table title_1_grams as
  select t.title_1, t.title_2, a.dim, a.count
  from (select distinct title_1, title_2 from pairs) t join grams a on a.text = t.title_1;
create table title_dots as
  select title_1, title_2, sum(t.count * b.count) as dot
  from title_1_grams t join grams b on b.text = t.title_2 and b.dim = t.dim
  group by title_1, title_2;

-- cosine^2 with the sign of the cosine: rises with it, and is exact for counts.
create table pair_similarities as
  select p.g_key, p.positive, p.item_id,
         case
           when len(embedding_1) > 0 and len(embedding_1) = len(embedding_2) then
             coalesce(sign(list_dot_product(embedding_1, embedding_2)) * pow(list_dot_product(embedding_1, embedding_2), 2)
               / nullif(list_dot_product(embedding_1, embedding_1) * list_dot_product(embedding_2, embedding_2), 0), 0)
           when title_1 is not null and title_2 is not null then
             coalesce(d.dot::double * d.dot::double / (t1.norm2::double * t2.norm2::double), 0)
           else if(category_1 = category_2, 1.0, 0.0)
         end as similarity,
         -- Of titles exactly; a threshold of 0 lets in all that is not opposed.
         case when o.negative_similarity > 0 and not coalesce(len(embedding_1) > 0 and len(embedding_1) = len(embedding_2), false)
                and title_1 is not null and title_2 is not null
              then coalesce(at_least(d.dot, o.negative_similarity, t1.norm2, t2.norm2), false)
              else similarity >= o.negative_similarity * o.negative_similarity end as reaches
  from pairs p
  left join title_dots d using (title_1, title_2)
  left join texts t1 on t1.text = p.title_1 left join texts t2 on t2.text = p.title_2, options o;

-- p0 of a day: native click rate of the exposed candidates of its search requests, known at its end.
create table click_rates as
  select day, count(*) as num_exposed, count(*) filter (clicked) as num_clicked
  from (
    select day_of(s.ts_ms) as day,
           exists (from native n where n.request_key = c.request_key and n.item_id = c.item_id
                   and day_of(n.ts_ms) <= day_of(s.ts_ms)) as clicked
    from searches s join candidates c using (request_key) where c.position is not null
  )
  group by day;

create table negatives as
  select g_key, positive, item_id
  from (
    select s.g_key, s.positive, s.item_id,
           case when o.negatives_per_positive > 0 then o.negatives_per_positive
                when p.day is null then 10
                when p.num_clicked = 0 then 20
                else least(20, greatest(1, round_half_up((p.num_exposed - p.num_clicked) / p.num_clicked))) end as num_wanted,
           row_number() over (partition by s.g_key, s.positive order by s.similarity desc, s.item_id) as place
    from pair_similarities s join requests g on g.request_key = s.g_key
    left join click_rates p on p.day = day_of(g.ts_ms) - 1, options o
    where s.reaches
  )
  where place <= num_wanted;

-- Query synthesis. Tier 1: the latest query of this user whose request had a native event on the item, all before g.
create table own_queries as
  select event_key, query, 1.0::double as score
  from (
    select k.event_key, r.query, row_number() over (partition by k.event_key order by r.ts_ms desc, r.query) as place
    from cross_clicks k
    join searches r on r.user_id = k.user_id, options o
    where r.ts_ms < k.g_ts_ms and r.ts_ms >= k.g_ts_ms - o.own_lookback and octet_length(r.query) > 0
      and exists (from native n where n.request_key = r.request_key and n.item_id = k.item_id and n.ts_ms < k.g_ts_ms)
  )
  where place = 1;

-- Tier 2: the query under which most users clicked the item, on days before g's day.
create table co_queries as
  select g_key, item_id, query, num_users::double as score
  from (
    select k.g_key, k.item_id, c.query, count(distinct c.user_id) as num_users,
           row_number() over (partition by k.g_key, k.item_id
             order by count(distinct c.user_id) desc, count(*) desc, c.query) as place
    from (select distinct g_key, g_ts_ms, item_id from cross_clicks) k
    join native_clicks c on c.item_id = k.item_id, options o
    where c.user_id is not null and c.day < day_of(k.g_ts_ms)
      and c.day * 86400000 >= day_of(k.g_ts_ms) * 86400000 - o.stats_lookback
    group by k.g_key, k.item_id, c.query, o.co_min_users
    having count(distinct c.user_id) >= o.co_min_users
  )
  where place = 1;

-- Tier 3: the query most similar to the item's title, of those asked often enough on days before g's day.
create table query_days as
  select query, day_of(ts_ms) as day, count(*) as num_requests from searches where octet_length(query) > 0 group by all;

create table query_banks as
  select d.day, q.query
  from (select distinct day_of(g_ts_ms) as day from cross_clicks) d
  join query_days q on q.day < d.day, options o
  where q.day * 86400000 >= d.day * 86400000 - o.stats_lookback
  group by d.day, q.query, o.ann_min_count
  having sum(q.num_requests) >= o.ann_min_count;

create table wanted_titles as
  select distinct day_of(k.g_ts_ms) as day, v.title
  from cross_clicks k join item_at v on v.item_id = k.item_id and v.ts_ms = k.g_ts_ms
  where octet_length(v.title) > 0;

create table title_grams as
  select w.day, w.title, a.dim, a.count from wanted_titles w join grams a on a.text = w.title;
create table bank_grams as
  select b.day, b.query, c.dim, c.count from query_banks b join grams c on c.text = b.query;
create table ann_shared as
  select t.day, t.title, b.query, sum(t.count * b.count) as dot
  from title_grams t join bank_grams b using (day, dim) group by t.day, t.title, b.query;

-- A floor of 0 lets in queries that share nothing with the title.
create table ann_dots as
  from ann_shared
  union all
  select w.day, w.title, b.query, 0
  from (from options where ann_floor <= 0) o, wanted_titles w join query_banks b using (day)
  anti join ann_shared s on s.day = w.day and s.title = w.title and s.query = b.query;

create table ann_queries as
  select day, title, query, sqrt(squared) as score
  from (
    select *, row_number() over (partition by day, title order by squared desc, query) as place
    from (
      select d.day, d.title, d.query, d.dot::double * d.dot::double / (tt.norm2::double * tq.norm2::double) as squared
      from ann_dots d join texts tt on tt.text = d.title join texts tq on tq.text = d.query, options o
      where at_least(d.dot, o.ann_floor, tt.norm2, tq.norm2)
    )
  )
  where place = 1;

create table click_queries as
  select k.*,
         case when own.query is not null then 1 when co.query is not null then 2 when ann.query is not null then 3 end as tier,
         coalesce(own.query, co.query, ann.query) as chosen_query,
         coalesce(own.score, co.score, ann.score) as score,
         exists (from negatives n where n.g_key = k.g_key and n.positive = k.item_id) as has_negative
  from cross_clicks k
  left join own_queries own using (event_key)
  left join co_queries co on co.g_key = k.g_key and co.item_id = k.item_id
  left join item_at v on v.item_id = k.item_id and v.ts_ms = k.g_ts_ms
  left join ann_queries ann on ann.day = day_of(k.g_ts_ms) and ann.title = v.title;

-- Why a cross-domain click that §3 left makes no row.
create table drops as
  select l.event_key, 'no_request' as cause
  from label_events l join outcomes u using (event_key) join places p using (event_key), options o
  where o.searchify and not l.is_search and l.action = 'click' and (u.outcome = 'left' or o.reuse_attributed)
    and p.place <> 'located'
  union all
  select event_key, if(not has_negative, 'no_negative', 'no_query') from click_queries where not has_negative or tier is null;

-- Clicks of one g that chose one query share a row: its tier is the best, its score the highest of that tier.
create table kept_clicks as
  select *, dense_rank() over (order by g_key, chosen_query) + (select coalesce(max(request_key), 0) from requests) as row_key
  from click_queries where has_negative and tier is not null;

create table cross_rows as
  select row_key, g_key, chosen_query as query, min(tier) as tier, max_by(score, (-tier, score)) as score
  from kept_clicks group by row_key, g_key, chosen_query;

-- Labels: clicks of one item in one row are one positive, the earliest gives the provenance; its conversions likewise.
create table cross_labels as
  select row_key, item_id, task, 5 as source, domain, delay_ms, weight
  from (
    select *, row_number() over (partition by row_key, item_id, task order by ts_ms, event_id) as place
    from (
      select k.row_key, k.item_id, e.task, e.domain, e.delay_ms, e.ts_ms, e.event_id,
             faded(f.factor, e.delay_ms, o.half_life) * o.tier_weights[k.tier] as weight
      from kept_clicks k
      join (
        select event_key as click_key, 'click' as task, domain, action, delay_ms, ts_ms, event_id from kept_clicks
        union all
        select click_key, action::varchar, domain, action, delay_ms, ts_ms, event_id from conversions
      ) e on e.click_key = k.event_key
      left join confidences f on f.domain = e.domain and f.action = e.action, options o
    )
  )
  where place = 1;

create table cross_items as
  select distinct k.g_key as request_key, k.row_key, k.item_id, 2 as origin, o.tier_weights[r.tier] as zero_weight
  from kept_clicks k join cross_rows r using (row_key), options o
  union all
  select distinct k.g_key, k.row_key, n.item_id, 3, o.tier_weights[r.tier]
  from kept_clicks k join cross_rows r using (row_key)
  join negatives n on n.g_key = k.g_key and n.positive = k.item_id, options o;

-- ------------------------------------------------------------------------------------------------------------------------
-- §5 histories and §6 rows. The result is table `rows`, one row a request, as docs/formats/samples.md.

create table row_heads as
  select request_key as row_key, request_key, request_id, domain, user_id, ts_ms, query, 0 as query_tier,
         null::double as query_score, context
  from searches
  union all
  select x.row_key, g.request_key, 'x:'::blob || g.domain || ':'::blob || g.request_id || ':'::blob || t.hash_hex::blob,
         g.domain, g.user_id, g.ts_ms, x.query, x.tier, x.score, g.context
  from cross_rows x join requests g on g.request_key = x.g_key join texts t on t.text = x.query;

-- floor(log2(1 + seconds)), exact.
create macro age_bucket(ms) as len(bin(1 + ms // 1000)) - 1;

create table history_entries as
  select h.row_key, q.sequence, h.ts_ms - e.ts_ms as age_ms, e.ts_ms, e.event_id, e.item_id, e.action, e.domain,
         row_number() over (partition by h.row_key, q.sequence order by e.ts_ms desc, e.event_id desc) as place
  from row_heads h
  join events e on e.user_id = h.user_id, sequences q, options o
  where e.ts_ms >= h.ts_ms - o.history_lookback and e.ts_ms < h.ts_ms - o.history_gap and e.known_ms < h.ts_ms
    and list_contains(q.actions, e.action) and (len(q.domains) = 0 or list_contains(q.domains, e.domain));

create table histories as
  select row_key, sequence,
         list({item_id: item_id, action: action, domain: domain, age_bucket: age_bucket(age_ms)} order by place desc) as history
  from history_entries, options o where place <= o.history_length group by row_key, sequence;

create table query_history_entries as
  select h.row_key, r.query, h.ts_ms - r.ts_ms as age_ms,
         row_number() over (partition by h.row_key order by r.ts_ms desc, r.request_id desc) as place
  from row_heads h join searches r on r.user_id = h.user_id, options o
  where r.ts_ms >= h.ts_ms - o.history_lookback and r.ts_ms < h.ts_ms - o.history_gap and octet_length(r.query) > 0;

create table query_histories as
  select row_key, list({query: query, age_bucket: age_bucket(age_ms)} order by place desc) as history
  from query_history_entries, options o where place <= o.query_history_length group by row_key;

create macro label_of(labels, zero_weight) as
  {source: coalesce(labels[1].source, 0), domain: labels[1].domain, delay_ms: labels[1].delay_ms,
   weight: coalesce(labels[1].weight, zero_weight)};

create table row_items as
  select i.row_key,
         list({item_id: i.item_id, origin: i.origin, position: c.position,
               click: label_of(l.click, i.zero_weight), cart: label_of(l.cart, i.zero_weight),
               purchase: label_of(l.purchase, i.zero_weight), candidate: c.candidate, item: v.item}
              order by i.origin, c.position, i.item_id) as items
  from (from search_items union all from cross_items) i
  join candidates c on c.request_key = i.request_key and c.item_id = i.item_id
  join requests r on r.request_key = i.request_key
  left join item_at v on v.item_id = i.item_id and v.ts_ms = r.ts_ms
  left join (
    select row_key, item_id,
           list({source: source, domain: domain, delay_ms: delay_ms, weight: weight}) filter (task = 'click') as click,
           list({source: source, domain: domain, delay_ms: delay_ms, weight: weight}) filter (task = 'cart') as cart,
           list({source: source, domain: domain, delay_ms: delay_ms, weight: weight}) filter (task = 'purchase') as purchase
    from (select request_key as row_key, * exclude (request_key) from search_labels union all from cross_labels)
    group by row_key, item_id
  ) l on l.row_key = i.row_key and l.item_id = i.item_id
  group by i.row_key;

create table rows as
  select h.row_key, day_of(h.ts_ms) as day, h.request_id, h.domain, h.user_id, h.ts_ms, h.query, h.query_tier, h.query_score,
         h.context, u.user, q.history as query_history, i.items
  from row_heads h
  asof left join users u on u.user_id = h.user_id and u.ts_ms <= h.ts_ms
  left join query_histories q using (row_key)
  left join row_items i using (row_key);
