-- One day of samples (docs/es3.md, default options) as fast as DuckDB does it: integer row keys, only the columns and days
-- that the day needs, list functions instead of windows over all candidates. run.py fills in {requests}, {events},
-- {items}, {users} (lists of files), {day} (its number), {draw_key} and {out}.

create macro day_of(ts_ms) as ts_ms // 86400000;
create macro age_bucket(ms) as floor(log2(1 + ms // 1000))::integer;
create macro origin_of(position) as if(position is null, 1, 0);

create table all_requests as
  select row_number() over ()::integer as request_key, request_id, domain, user_id, ts_ms, query, context, candidates
  from read_parquet({requests});
create table searches as
  select request_key, request_id, user_id, ts_ms, query, day_of(ts_ms) = {day} as today from all_requests where domain = 'search';
create table all_events as
  select row_number() over ()::integer as event_key, event_id, domain, action, user_id, item_id, ts_ms, known_ms, request_id
  from read_parquet({events});
create table items as
  select row_number() over ()::integer as item_key, item_id, title, category, brand, price, rating from read_parquet({items});

-- Only items that some label event names can be labelled or matched: the rest of the lists is touched once, at the end.
create table label_events as
  select e.*, domain = 'search' as is_search, if(action = 'click', 86400000, 259200000) as window_ms
  from all_events e
  where action in ('click', 'cart', 'purchase') and ts_ms >= {day}::bigint * 86400000 - 259205000;

create table event_items as select distinct user_id, item_id from label_events;
create table listed as
  select request_key, domain, request_id, user_id, ts_ms, c.item_id, c.position
  from (select request_key, domain, request_id, user_id, ts_ms, unnest(candidates) as c from all_requests) r
  semi join event_items e on e.user_id = r.user_id and e.item_id = r.c.item_id;

-- Native labels and located cross-domain events (here every id names one request and every event has its user).
create table located as
  select e.event_key, l.request_key, l.ts_ms as request_ts_ms, e.ts_ms - l.ts_ms as delay_ms
  from label_events e join listed l on l.domain = e.domain and l.request_id = e.request_id and l.item_id = e.item_id
  where l.position is not null and e.ts_ms between l.ts_ms - 5000 and l.ts_ms + e.window_ms
  union all
  select event_key, arg_max(request_key, ts_ms), max(ts_ms), any_value(event_ts_ms) - max(ts_ms)
  from (
    select e.event_key, e.ts_ms as event_ts_ms, l.request_key, l.ts_ms
    from label_events e join listed l on l.domain = e.domain and l.user_id = e.user_id and l.item_id = e.item_id
    where e.request_id is null and l.position is not null and l.ts_ms between e.ts_ms - 1800000 and e.ts_ms
  )
  group by event_key;

create table located_items as
  select distinct l.request_key, e.item_id from located l join label_events e using (event_key);

create table native as
  select e.*, l.request_key, l.delay_ms from located l join label_events e using (event_key) where e.is_search;

create table native_clicks as
  select day_of(n.ts_ms) as day, s.query, n.item_id, n.user_id, i.category
  from native n join searches s using (request_key) left join items i using (item_id)
  where n.action = 'click' and s.query <> '';

-- Character 3-grams.
create table texts as
  select row_number() over ()::integer as text_key, text
  from (select query as text from searches where query <> '' union select title from items where title <> '');
create table grams as
  select text_key, gram, count(*)::integer as count
  from (
    select text_key, unnest([substr(marked, i, 3) for i in range(1, length(marked) - 1)]) as gram
    from (select text_key, chr(1) || lower(trim(regexp_replace(nfc_normalize(text), '\s+', ' ', 'g'))) || chr(1) as marked
          from texts)
  )
  group by text_key, gram;
create table gram_keys as select gram, row_number() over ()::integer as gram_key from (select distinct gram from grams);
create table counts as select text_key, gram_key, count from grams join gram_keys using (gram);
create table norms as select text_key, sum(count * count)::double as norm2 from counts group by text_key;
create table item_texts as select item_id, item_key, text_key, category, norm2
  from items left join texts on text = title left join norms using (text_key);
create table query_texts as select text as query, text_key, norm2 from texts join norms using (text_key)
  where text in (select query from searches);

-- §3.
create table foreign_events as
  select * from label_events e where not is_search or not exists (from located l where l.event_key = e.event_key);

create table met as
  select e.event_key, e.action, e.item_id, day_of(e.ts_ms) as event_day, l.request_key, l.request_id, l.ts_ms as request_ts_ms,
         s.query, l.position is not null as exposed, e.ts_ms as event_ts_ms
  from foreign_events e join listed l on l.user_id = e.user_id and l.item_id = e.item_id
  join searches s on s.request_key = l.request_key
  where l.domain = 'search' and l.ts_ms between e.ts_ms - e.window_ms and e.ts_ms;

create table states as
  select m.event_key, m.request_key, bool_or(true) as clicked, bool_or(m.action = 'click' or n.action = m.action) as positive
  from met m join native n on n.request_key = m.request_key and n.item_id = m.item_id and n.ts_ms <= m.event_ts_ms
  group by m.event_key, m.request_key;

create table gate_text as
  select p.query, p.item_id
  from (select distinct query, item_id from met) p
  join query_texts q using (query) join item_texts i using (item_id)
  join counts a on a.text_key = q.text_key join counts b on b.text_key = i.text_key and b.gram_key = a.gram_key
  group by p.query, p.item_id, q.norm2, i.norm2
  having 25 * pow(sum(a.count * b.count), 2) >= q.norm2 * i.norm2;  -- cosine >= 0.2, exactly

create table gate_clicks as
  select distinct m.query, m.item_id, m.event_day
  from (select distinct query, item_id, event_day from met) m
  join items i using (item_id)
  join (select distinct query, item_id, category, day from native_clicks) c on c.query = m.query
  where c.day < m.event_day and c.day >= m.event_day - 30 and (c.item_id = m.item_id or c.category = i.category);

create table gated as
  select m.*, coalesce(s.clicked, false) as clicked, coalesce(s.positive, false) as positive,
         t.query is not null or c.query is not null as open
  from met m left join states s using (event_key, request_key)
  left join gate_text t on t.query = m.query and t.item_id = m.item_id
  left join gate_clicks c on c.query = m.query and c.item_id = m.item_id and c.event_day = m.event_day;

create table outcomes as
  select e.event_key, c.request_key, c.level,
         case when c.positive or (c.event_key is null and p.event_key is not null) then 'already_labelled'
              when c.event_key is not null then 'credited' else 'left' end as outcome
  from foreign_events e
  left join (
    select event_key, request_key, level, positive
    from (
      select *, case when not exposed then 3 when not clicked then 2 when action <> 'click' then 1 end as level
      from gated where open
    )
    where level is not null
    qualify row_number() over (partition by event_key order by level, request_ts_ms desc, request_id) = 1
  ) c using (event_key)
  left join (select distinct event_key from gated where positive) p using (event_key);

create table credits as
  select e.*, u.request_key, u.level, e.ts_ms - s.ts_ms as delay_ms
  from outcomes u join foreign_events e using (event_key) join searches s using (request_key)
  where u.outcome = 'credited'
  qualify row_number() over (partition by u.request_key, e.item_id, e.action order by e.ts_ms, e.event_id) = 1;

create table search_labels as
  select request_key, item_id,
         arg_min(label, (source <> 1, ts_ms, event_id)) as click,
         arg_min(label, (source <> 1, ts_ms, event_id)) filter (action = 'cart') as cart,
         arg_min(label, (source <> 1, ts_ms, event_id)) filter (action = 'purchase') as purchase
  from (
    select request_key, item_id, action, source, ts_ms, event_id, {{source: source, domain: domain, delay_ms: delay_ms, weight: 1::float}} as label
    from (
      select request_key, item_id, action, 1 as source, domain, delay_ms, ts_ms, event_id from native
      union all
      select request_key, item_id, action, level + 1, domain, delay_ms, ts_ms, event_id from credits
    )
  )
  group by request_key, item_id;

-- §4, of today's requests.
create table cross_clicks as
  select e.event_key, e.event_id, e.domain, e.action, e.user_id, e.item_id, e.ts_ms, l.delay_ms, l.request_key as g_key,
         l.request_ts_ms as g_ts_ms
  from located l join label_events e using (event_key) join outcomes u using (event_key)
  where not e.is_search and e.action = 'click' and u.outcome = 'left';

create table conversions as
  select k.event_key as click_key, e.event_id, e.domain, e.action, e.ts_ms, e.ts_ms - k.g_ts_ms as delay_ms
  from foreign_events e join outcomes u using (event_key) join cross_clicks k on k.user_id = e.user_id and k.item_id = e.item_id
  where u.outcome = 'left' and e.action <> 'click' and k.ts_ms <= e.ts_ms and e.ts_ms <= k.g_ts_ms + e.window_ms
  qualify row_number() over (partition by e.event_key order by k.ts_ms desc, k.event_id) = 1;

create table todays_clicks as select * from cross_clicks where day_of(g_ts_ms) = {day};

create table shown as
  select request_key, i.item_key, i.text_key, i.norm2, i.category, c.item_id
  from (select request_key, unnest(candidates) as c from all_requests
        where request_key in (select g_key from todays_clicks))
  join item_texts i on i.item_id = c.item_id
  where c.position is not null;

create table pairs as
  select k.g_key, p.item_key as positive_key, n.item_key, p.text_key as text_1, n.text_key as text_2,
         p.norm2 * n.norm2 as norms, p.category = n.category as same_category, n.item_id
  from (select distinct g_key, item_id from todays_clicks) k
  join shown p on p.request_key = k.g_key and p.item_id = k.item_id
  join shown n on n.request_key = k.g_key
  anti join located_items l on l.request_key = n.request_key and l.item_id = n.item_id;

create table title_dots as
  select text_1, text_2, sum(a.count * b.count)::double as dot
  from (select distinct text_1, text_2 from pairs where text_1 is not null and text_2 is not null)
  join counts a on a.text_key = text_1 join counts b on b.text_key = text_2 and b.gram_key = a.gram_key
  group by text_1, text_2;

create table wanted as
  select least(20, greatest(1, floor((count(*) - count(hit)) / count(hit) + 0.5)))::bigint as n
  from (
    select n.item_id as hit
    from (select request_key, unnest(candidates) as c from all_requests
          where domain = 'search' and day_of(ts_ms) = {day} - 1) r
    left join (select distinct request_key, item_id from native where day_of(ts_ms) < {day}) n
      on n.request_key = r.request_key and n.item_id = r.c.item_id
    where r.c.position is not null
  );

create table negatives as
  select g_key, positive_key, item_id
  from (
    select p.*, case when text_1 is not null and text_2 is not null then coalesce(dot * dot / norms, 0)
                     else if(same_category, 1, 0) end as similarity,
           case when text_1 is not null and text_2 is not null then coalesce(100.0::double * dot * dot >= 9 * norms, false)
                else same_category end as is_similar  -- cosine >= 0.3, exactly
    from pairs p left join title_dots using (text_1, text_2)
  ), wanted
  where is_similar
  qualify row_number() over (partition by g_key, positive_key order by similarity desc, item_id) <= n;

create table own_queries as
  select k.event_key, s.query
  from todays_clicks k join listed l on l.user_id = k.user_id and l.item_id = k.item_id and l.domain = 'search'
  join searches s on s.request_key = l.request_key
  join native n on n.request_key = l.request_key and n.item_id = k.item_id
  where s.ts_ms < k.g_ts_ms and s.ts_ms >= k.g_ts_ms - 2592000000 and n.ts_ms < k.g_ts_ms and s.query <> ''
  qualify row_number() over (partition by k.event_key order by s.ts_ms desc, s.query) = 1;

create table co_queries as
  select item_id, query, count(distinct user_id) as users
  from native_clicks where day < {day} and day >= {day} - 30 and user_id is not null
  group by item_id, query having count(distinct user_id) >= 2
  qualify row_number() over (partition by item_id order by count(distinct user_id) desc, count(*) desc, query) = 1;

create table bank as
  select query, q.text_key, q.norm2 from searches join query_texts q using (query) where day_of(ts_ms) < {day} and day_of(ts_ms) >= {day} - 30
  group by query, q.text_key, q.norm2 having count(*) >= 2;

create table ann_queries as
  select text_key, query, sqrt(squared) as score
  from (
    select w.text_key, b.query, pow(sum(a.count * c.count), 2) / (w.norm2 * b.norm2) as squared,
           pow(sum(a.count * c.count), 2) / b.norm2 as place,
           400 * pow(sum(a.count * c.count), 2) >= 49 * w.norm2 * b.norm2 as is_similar  -- cosine >= 0.35, exactly
    from (select distinct i.text_key, i.norm2 from todays_clicks k join item_texts i using (item_id)
          where k.event_key not in (select event_key from own_queries) and k.item_id not in (select item_id from co_queries)) w
    join counts a on a.text_key = w.text_key join (select gram_key, count, text_key as query_key from counts
          where text_key in (select text_key from bank)) c on c.gram_key = a.gram_key
    join bank b on b.text_key = c.query_key
    group by w.text_key, w.norm2, b.query, b.norm2
  )
  where is_similar
  qualify row_number() over (partition by text_key order by place desc, query) = 1;

create table kept_clicks as
  select *, dense_rank() over (order by g_key, query) + (select max(request_key) from all_requests) as row_key
  from (
    select k.*, i.item_key, coalesce(o.query, c.query, a.query) as query,
           case when o.query is not null then 1 when c.query is not null then 2 else 3 end as tier,
           case when o.query is not null then 1 when c.query is not null then c.users else a.score end as score
    from todays_clicks k join item_texts i using (item_id)
    left join own_queries o using (event_key) left join co_queries c using (item_id)
    left join ann_queries a on a.text_key = i.text_key
    where exists (from negatives n where n.g_key = k.g_key and n.positive_key = i.item_key)
  )
  where query is not null;

create table cross_rows as
  select row_key, g_key, query, min(tier) as tier, arg_max(score, (-tier, score)) as score, [1.0, 0.8, 0.5][min(tier)]::float as weight
  from kept_clicks group by row_key, g_key, query;

create table cross_items as
  select row_key, item_id, 2 as origin,
         arg_min(label, (ts_ms, event_id)) filter (action = 'click') as click,
         arg_min(label, (ts_ms, event_id)) filter (action = 'cart') as cart,
         arg_min(label, (ts_ms, event_id)) filter (action = 'purchase') as purchase
  from (
    select row_key, item_id, action, ts_ms, event_id, {{source: 5, domain: domain, delay_ms: delay_ms, weight: [1.0, 0.8, 0.5][tier]::float}} as label
    from (
      select row_key, item_id, tier, action, domain, delay_ms, ts_ms, event_id from kept_clicks
      union all
      select k.row_key, k.item_id, k.tier, c.action, c.domain, c.delay_ms, c.ts_ms, c.event_id
      from kept_clicks k join conversions c on c.click_key = k.event_key
    )
  )
  group by row_key, item_id
  union all
  select distinct k.row_key, n.item_id, 3, null, null, null
  from kept_clicks k join negatives n on n.g_key = k.g_key and n.positive_key = k.item_key;

-- §2 and §6: the lists. The draw is made inside each list, before anything is unnested.
create table chosen as
  select row_key, c.item_id, c.position, c.score, c.bm25, c.popularity
  from (
    select request_key as row_key,
           unnest(list_concat(shown, list_transform(
             list_sort(list_transform(others, lambda c: {{key: {draw_key}, c: c}}))[1:least(100, 2 * len(shown))], lambda x: x.c))) as c
    from (
      select request_key, request_id, list_filter(candidates, lambda c: c.position is not null) as shown,
             list_filter(candidates, lambda c: c.position is null) as others
      from all_requests where domain = 'search' and day_of(ts_ms) = {day}
    )
  );

insert into chosen
  select l.request_key, l.c.item_id, null, l.c.score, l.c.bm25, l.c.popularity
  from (
    select distinct request_key, item_id from credits where level = 3
  ) u
  join (select request_key, unnest(candidates) as c from all_requests
        where request_key in (select request_key from credits where level = 3) and day_of(ts_ms) = {day}) l
    on l.request_key = u.request_key and l.c.item_id = u.item_id
  where not exists (from chosen k where k.row_key = u.request_key and k.item_id = u.item_id);

create macro item_of(item_id, origin, position, click, cart, purchase, zero, candidate, item) as
  {{item_id: item_id, origin: origin::tinyint, position: position,
    click: click is not null, cart: cart is not null, purchase: purchase is not null,
    click_source: coalesce(click.source, 0)::tinyint, click_domain: click.domain, click_delay_ms: click.delay_ms,
    click_weight: coalesce(click.weight, zero)::float,
    cart_source: coalesce(cart.source, 0)::tinyint, cart_domain: cart.domain, cart_delay_ms: cart.delay_ms,
    cart_weight: coalesce(cart.weight, zero)::float,
    purchase_source: coalesce(purchase.source, 0)::tinyint, purchase_domain: purchase.domain,
    purchase_delay_ms: purchase.delay_ms, purchase_weight: coalesce(purchase.weight, zero)::float,
    candidate: candidate, item: item}};

create table item_structs as
  select item_id, {{title: title, category: category, brand: brand, price: price, rating: rating}} as item from items;

create table row_items as
  select row_key, list_transform(
           list_sort(list({{origin: item.origin, position: item.position, item_id: item.item_id, item: item}})), lambda x: x.item) as items
  from (
    select c.row_key, item_of(c.item_id, if(c.position is null, 1, 0), c.position, l.click, l.cart, l.purchase, 1,
                              {{score: c.score, bm25: c.bm25, popularity: c.popularity}}, i.item) as item
    from chosen c left join search_labels l on l.request_key = c.row_key and l.item_id = c.item_id
    left join item_structs i on i.item_id = c.item_id
    union all
    select x.row_key, item_of(x.item_id, x.origin, c.c.position, x.click, x.cart, x.purchase, r.weight,
                              {{score: c.c.score, bm25: c.c.bm25, popularity: c.c.popularity}}, i.item)
    from cross_items x join cross_rows r using (row_key)
    join (select request_key, unnest(candidates) as c from all_requests where request_key in (select g_key from cross_rows)) c
      on c.request_key = r.g_key and c.c.item_id = x.item_id
    left join item_structs i on i.item_id = x.item_id
  )
  group by row_key;

-- §5: the latest actions of each sequence before each row.
create table heads as
  select request_key as row_key, request_id, domain, user_id, ts_ms, query, 0 as query_tier, null::float as query_score, context
  from all_requests where domain = 'search' and day_of(ts_ms) = {day}
  union all
  select x.row_key, 'x:' || g.domain || ':' || g.request_id || ':' || query_hash(x.query), g.domain, g.user_id, g.ts_ms, x.query, x.tier,
         x.score::float, g.context
  from cross_rows x join all_requests g on g.request_key = x.g_key;

create table moments as select distinct user_id, ts_ms from heads where user_id is not null;
create macro action_of(e, ts_ms) as
  {{item_id: e.item_id, action: e.action, domain: e.domain, age_bucket: age_bucket(ts_ms - e.ts_ms)}};
create table histories as
  select m.user_id, m.ts_ms,
         list(action_of(e, m.ts_ms) order by e.ts_ms, e.event_id) filter (e.action = 'click')[-50:] as clicks,
         list(action_of(e, m.ts_ms) order by e.ts_ms, e.event_id) filter (e.action in ('cart', 'purchase'))[-50:] as buys
  from moments m join all_events e on e.user_id = m.user_id
  where e.ts_ms < m.ts_ms and e.known_ms < m.ts_ms and e.ts_ms >= m.ts_ms - 7776000000
  group by m.user_id, m.ts_ms;
create table query_histories as
  select m.user_id, m.ts_ms,
         list({{query: s.query, age_bucket: age_bucket(m.ts_ms - s.ts_ms)}} order by s.ts_ms, s.request_id)[-10:] as queries
  from moments m join searches s on s.user_id = m.user_id
  where s.ts_ms < m.ts_ms and s.ts_ms >= m.ts_ms - 7776000000 and s.query <> ''
  group by m.user_id, m.ts_ms;

copy (
  select h.request_id, h.domain, h.user_id, h.ts_ms, h.query, h.query_tier::tinyint as query_tier, h.query_score, h.context,
         {{age_group: u.age_group, segment: u.segment}} as user,
         coalesce(a.clicks, []) as history_clicks, coalesce(a.buys, []) as history_buys,
         coalesce(q.queries, []) as query_history, coalesce(i.items, []) as items
  from heads h left join row_items i using (row_key)
  left join histories a on a.user_id = h.user_id and a.ts_ms = h.ts_ms
  left join query_histories q on q.user_id = h.user_id and q.ts_ms = h.ts_ms
  left join read_parquet({users}) u on u.user_id = h.user_id
  order by h.ts_ms, h.request_id, h.user_id
) to {out} (format parquet, compression zstd, compression_level 1, row_group_size 8192);
