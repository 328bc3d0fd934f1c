-- A script in the older style, as it may already exist: plain INSERTs into the cntl_af tables,
-- act_f 1/0, '' for "none", columns left out, no transaction, notebook parameters as one text.
-- It runs unchanged; its streams and processes appear and run like those of schema control.

insert into cntl_af.cntl_cfg_strem (strem_nm, question, go_live, strem_owner, act_f, upt_dt)
values ('nightly_reviews', 'What do customers praise or complain about?', 1, 'shop', 1, now());

insert into cntl_af.cntl_cfg_prcs_grp (prcs_grp, strem_nm, prir, act_f, upt_dt)
values ('reviews_load', 'nightly_reviews', 1, 1, now());

insert into cntl_af.cntl_cfg_prcs_grp (prcs_grp, strem_nm, prir, act_f, upt_dt)
values ('reviews_answer', 'nightly_reviews', 2, 1, now());

insert into cntl_af.cntl_cfg_sys_file (sys_nm, file_type, dlm, chunk_size, overlap, upt_dt)
values ('reviews', 'csv', ';', 256, 32, now());

insert into cntl_af.cntl_cfg_prcs
    (prcs_nm, prcs_grp, prir, sys_file, embed_model, gen_model, collection, nb_path_nm, nb_parm,
     act_f, upt_dt)
values
    ('reviews_fetch', 'reviews_load', 1, 'reviews', '', '', 'Reviews', 'templates/existing.ipynb',
     'landing|reviews/2026|reviews.csv', 1, now());

insert into cntl_af.cntl_cfg_prcs
    (prcs_nm, prcs_grp, prir, sys_file, embed_model, gen_model, collection, nb_path_nm, nb_parm,
     act_f, upt_dt)
values
    ('reviews_summary', 'reviews_answer', 1, '', '', '', 'Reviews', 'templates/existing.ipynb',
     'results|reviews|summary.csv', 1, now());

insert into cntl_af.cntl_cfg_prcs (prcs_nm, prcs_grp, prir, nb_path_nm, nb_parm, act_f)
values ('reviews_old', 'reviews_load', 2, 'templates/existing.ipynb', '', 0);

insert into cntl_af.cntl_cfg_prcs_depn (prcs_nm, dpnd_prcs_nm, act_f, upt_dt)
values ('reviews_summary', 'reviews_fetch', 1, now());

insert into cntl_af.cntl_cfg_schedule (strem_nm, minutes, hours, day_month, months, day_week, upt_dt)
values ('nightly_reviews', '15', '2', '*', '*', '*', now());
